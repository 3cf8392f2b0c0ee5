"""What a report is made of, before it is a page or Markdown: sections of text, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass


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
