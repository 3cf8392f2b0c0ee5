"""A report as GitHub-flavoured Markdown."""

from __future__ import annotations

from bcdseg.evaluation.report.blocks import Block, Cell, Document, Pictures, Points, Table, Text

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
