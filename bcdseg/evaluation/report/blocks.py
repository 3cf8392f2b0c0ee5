"""Blocks of a report: sections, tables, figures."""

from __future__ import annotations

from dataclasses import dataclass


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
        searchable: Whether the page offers a search and filters for the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    searchable: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure with its texts.

    Attributes:
        name: Name of its files, without suffix.
        png: Content of the PNG file.
        svg: Content of the SVG file, empty where there is none.
        title: Title above the figure.
        caption: Caption below the figure.
        alt: Alternative text for readers who can't see the figure.
        small: Whether it is one of many.
        wide: Whether it takes the full width of the page.
    """

    name: str
    png: bytes
    svg: bytes
    title: str
    caption: str
    alt: str
    small: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Pictures:
    """Figures side by side, as many as fit in a row, with an optional title."""

    each: tuple[Picture, ...]
    title: str = ""
    caption: str = ""


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


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: Title of the page.
        subtitle: What was evaluated on what, in small letters below the title.
        warnings: Warnings that a reader needs before any result.
        sections: Sections in order.
        others: Title and file of other pages in the same folder.
    """

    title: str
    subtitle: str
    warnings: tuple[Text, ...]
    sections: tuple[Section, ...]
    others: tuple[tuple[str, str], ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All figures."""
        return tuple(
            one for section in self.sections for block in section.blocks if isinstance(block, Pictures) for one in block.each
        )
