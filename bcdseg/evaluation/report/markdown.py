"""A report as Markdown, with its pictures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bcdseg.evaluation.report.blocks import Block, Cell, Pictures, Points, Section, Table, Text
from bcdseg.evaluation.report.content import warnings
from bcdseg.model.card import DISCLAIMER

if TYPE_CHECKING:
    from bcdseg.evaluation.result import Evaluation

SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#"})


def markdown(evaluation: Evaluation, sections: Sequence[Section]) -> str:
    """The report, as GitHub's Markdown."""
    count = f"{len(evaluation.cases)} scans in {len(set(evaluation.cases.groups))} groups"
    parts = [
        f"# How good {_text(evaluation.model)} is on {_text(evaluation.dataset)}",
        f"Measured on {count}. {DISCLAIMER}",
        *map(_block, warnings(evaluation)),
    ]
    for section in sections:
        parts += [f"## {_text(section.title)}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f"**{_text(block.words)}**" if block.kind == "warning" else _text(block.words)
    if isinstance(block, Points):
        return "\n".join(f"- {_text(item)}" for item in block.items)
    return _table(block) if isinstance(block, Table) else _pictures(block)


def _table(table: Table) -> str:
    title = f"### {_text(table.title)}\n\n" if table.title else ""
    lines = ["| " + " | ".join(map(_text, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    return title + "\n".join(lines)


def _cell(cell: Cell) -> str:
    return _text(cell.text) + (f"<br><sub>{_text(cell.below)}</sub>" if cell.below else "")


def _pictures(pictures: Pictures) -> str:
    title = [f"### {_text(pictures.title)}", _text(pictures.says)] if pictures.title else []
    shown = [f"![{_text(one.alt)}](figures/{one.name}.png)\n\n**{_text(one.title)}** {_text(one.says)}" for one in pictures.each]
    return "\n\n".join([*title, *shown])


def _text(words: str) -> str:
    return " ".join(words.translate(SPECIAL).split())
