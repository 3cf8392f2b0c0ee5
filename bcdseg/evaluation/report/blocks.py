"""Blocks of a report: sections, tables, figures; and a report of them as GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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


SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#"})


def markdown(document: Document) -> str:
    """Return a document as Markdown."""
    parts = [f"# {escape(document.title)}", escape(document.subtitle), *map(_block, document.warnings)]
    for section in document.sections:
        parts += [f"## {escape(section.title)}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return text whose characters mean nothing to Markdown or HTML."""
    return " ".join(text.split()).translate(SPECIAL)


def as_text(content: Any) -> str:
    """Return a value of any JSON type as text: items are separated by semicolons, and sentences by a space."""
    if isinstance(content, Mapping):
        return as_text([f"{name}: {as_text(one)}" for name, one in content.items()])
    if isinstance(content, (list, tuple)):
        items = [as_text(one) for one in content]
        return " ".join(one if one.endswith(".") else f"{one};" for one in items).rstrip(";")
    return str(content)


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f"**{escape(block.words)}**" if block.kind == "warning" else escape(block.words)
    if isinstance(block, Points):
        return "\n".join(f"- {escape(item)}" for item in block.items)
    return _table(block) if isinstance(block, Table) else _pictures(block)


def _table(table: Table) -> str:
    title = f"### {escape(table.title)}\n\n" if table.title else ""
    lines = ["| " + " | ".join(map(escape, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    return title + "\n".join(lines)


def _cell(cell: Cell) -> str:
    return escape(cell.text) + (f"<br><sub>{escape(cell.below)}</sub>" if cell.below else "")


def _pictures(pictures: Pictures) -> str:
    title = [f"### {escape(pictures.title)}", escape(pictures.caption)] if pictures.title else []
    shown = [
        f"![{escape(one.alt)}](figures/{one.name}.png)\n\n**{escape(one.title)}** {escape(one.caption)}" for one in pictures.each
    ]
    return "\n\n".join([*title, *shown])
