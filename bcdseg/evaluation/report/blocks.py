"""Blocks of a report: sections, tables, figures, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bcdseg.evaluation.measures.measure import Estimate


@dataclass(frozen=True)
class Text:
    """A paragraph, whose ``kind`` is ``plain``, ``soft`` (a remark) or ``warning``."""

    words: str
    kind: str = "plain"


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and an explanation in small letters below it."""

    text: str
    below: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Headers of the columns; the first column names its row.
        rows: Cells of each row, one per column.
        title: Title above the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with its texts.

    Attributes:
        name: Name of its files, without suffix.
        png: Content of the PNG file.
        svg: Content of the SVG file, empty where there is none.
        title: Title above the figure.
        says: Caption below the figure.
        alt: Alternative text for readers who can't see the figure.
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
    """Figures side by side, as many as fit in a row, with an optional title."""

    each: tuple[Picture, ...]
    title: str = ""
    says: str = ""


@dataclass(frozen=True)
class Points:
    """A list with bullet points."""

    items: tuple[str, ...]


Block = Text | Table | Pictures | Points


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: tuple[Block, ...]


NONE = "\u2013"  # en dash
DIGITS = {"share": 3, "score": 3, "count": 2, "px": 1, "mm": 2}
UNITS = {"px": " px", "mm": " mm"}


def shown(estimate: Estimate, unit: str) -> str:
    """Return value and interval as text, or a dash where there is no value."""
    if estimate.value is None:
        return NONE
    return f"{number(estimate.value, unit)}{UNITS.get(unit, '')}{interval(estimate, unit)}"


def interval(estimate: Estimate, unit: str) -> str:
    """Return the interval in brackets, or an empty text where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({number(estimate.low, unit)} to {number(estimate.high, unit)})"


def number(value: float, unit: str) -> str:
    """Return a value as text, with the number of digits of its unit."""
    return f"{value:.{DIGITS[unit]}f}"
