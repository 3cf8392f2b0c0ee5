"""A report on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.evaluation.report.blocks import Picture, Pictures, Section
from bcdseg.evaluation.report.data import as_data, cases_csv
from bcdseg.extras import require
from bcdseg.files import check_free, write_whole
from bcdseg.infer.output import NOT_UNICODE, json_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.result import Comparison, Evaluation

NAMES = ("report.html", "report.md", "report.json", "cases.csv")


def check_report_free(folder: Path, *, overwrite: bool) -> None:
    """Raise, before any work is done, when a report is in the folder already and may not be replaced, or can't be drawn."""
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
    """See ``Evaluation.save``. The page comes last, so that what it is beside is there."""
    check_report_free(folder, overwrite=overwrite)
    from bcdseg.evaluation.report.content import sections
    from bcdseg.evaluation.report.markdown import markdown
    from bcdseg.evaluation.report.page import page

    parts = list(sections(evaluation, comparisons, training_curves))
    contents = {f"figures/{name}": content for one in _pictures(parts) for name, content in _files(one)}
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


def _pictures(sections: Iterable[Section]) -> list[Picture]:
    return [one for section in sections for block in section.blocks if isinstance(block, Pictures) for one in block.each]


def _files(picture: Picture) -> list[tuple[str, bytes]]:
    files = [(f"{picture.name}.png", picture.png)]
    return [*files, (f"{picture.name}.svg", picture.svg)] if picture.svg else files
