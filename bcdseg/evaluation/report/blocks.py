"""Blocks of a report: sections, tables, pictures, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bcdseg.evaluation.measures.measure import Estimate


@dataclass(frozen=True)
class Text:
    """A paragraph. ``kind`` is ``plain``, ``soft`` (a remark) or ``warning``."""

    words: str
    kind: str = "plain"


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what it says, and below it in small what explains it."""

    text: str
    below: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Heads of the columns; the first column names its row.
        rows: Cells, as many in each row as there are columns.
        title: Above the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: Of its files, without suffix.
        png: Content of the PNG file.
        svg: Content of the SVG file, empty where there is none.
        title: Above it.
        says: What is to be seen in it, below it.
        alt: In place of it, for who can't see it.
        small: Whether it is one of many.
    """

    name: str
    png: bytes
    svg: bytes
    title: str
    says: str
    alt: str
    small: bool = False


@dataclass(frozen=True)
class Pictures:
    """Figures side by side, as many as there is room for, under a title where there is one."""

    each: tuple[Picture, ...]
    title: str = ""
    says: str = ""


@dataclass(frozen=True)
class Points:
    """A list."""

    items: tuple[str, ...]


Block = Text | Table | Pictures | Points


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


NONE = "\u2013"  # a dash
DIGITS = {"share": 3, "score": 3, "count": 2, "px": 1, "mm": 2}
UNITS = {"px": " px", "mm": " mm"}


def shown(estimate: Estimate, unit: str) -> str:
    """Value and interval, or a dash where there is no value."""
    if estimate.value is None:
        return NONE
    return f"{number(estimate.value, unit)}{UNITS.get(unit, '')}{interval(estimate, unit)}"


def interval(estimate: Estimate, unit: str) -> str:
    """The interval in brackets; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({number(estimate.low, unit)} to {number(estimate.high, unit)})"


def number(value: float, unit: str) -> str:
    """As many digits as the unit deserves."""
    return f"{value:.{DIGITS[unit]}f}"
