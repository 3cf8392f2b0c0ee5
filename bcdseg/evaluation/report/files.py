"""Files of a report, and its Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.evaluation.report.blocks import Block, Cell, Picture, Pictures, Points, Section, Table, Text
from bcdseg.evaluation.report.content import warnings
from bcdseg.evaluation.report.data import as_data, cases_csv
from bcdseg.extras import require
from bcdseg.files import check_free, write_whole
from bcdseg.inference.writers import NOT_UNICODE, json_bytes
from bcdseg.model.card import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.results import Comparison, Evaluation

SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#"})


def markdown(evaluation: Evaluation, sections: Sequence[Section]) -> str:
    """Return the report as GitHub-flavoured Markdown."""
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


NAMES = ("report.html", "report.md", "report.json", "cases.csv")


def check_report_free(folder: Path, *, overwrite: bool) -> None:
    """Raise, before any work is done, when a report exists and may not be replaced, or when figures can't be drawn."""
    require("matplotlib", extra="evaluate", purpose="A report")
    check_free([folder / name for name in NAMES], overwrite=overwrite)


def save_report(
    evaluation: Evaluation,
    folder: Path,
    comparisons: Sequence[Comparison],
    training_curves: Figure | None,
    *,
    overwrite: bool,
) -> Path:
    """Write the files of ``Evaluation.save``; the page is written last, so that the files next to it exist before."""
    check_report_free(folder, overwrite=overwrite)
    from bcdseg.evaluation.report.content import sections
    from bcdseg.evaluation.report.page import page

    parts = list(sections(evaluation, comparisons, training_curves))
    contents = {f"figures/{name}": content for one in _picture_files(parts) for name, content in _files(one)}
    contents |= {
        "cases.csv": cases_csv(evaluation.cases),
        "report.json": json_bytes(as_data(evaluation, comparisons)),
        "report.md": markdown(evaluation, parts).encode("utf-8", NOT_UNICODE),
        "report.html": page(evaluation, parts).encode("utf-8", NOT_UNICODE),
    }
    check_free([folder / name for name in contents], overwrite=overwrite)
    for name, content in contents.items():
        write_whole(folder / name, content, overwrite=overwrite)
    return folder / "report.html"


def _picture_files(sections: Iterable[Section]) -> list[Picture]:
    return [one for section in sections for block in section.blocks if isinstance(block, Pictures) for one in block.each]


def _files(picture: Picture) -> list[tuple[str, bytes]]:
    files = [(f"{picture.name}.png", picture.png)]
    return [*files, (f"{picture.name}.svg", picture.svg)] if picture.svg else files
