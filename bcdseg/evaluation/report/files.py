"""Files of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.evaluation.report.blocks import Document, Picture
from bcdseg.evaluation.report.checklist import checklist_markdown
from bcdseg.evaluation.report.data import as_data, cases_csv
from bcdseg.evaluation.report.markdown import markdown
from bcdseg.evaluation.report.paper import paper_latex, paper_markdown
from bcdseg.extras import require
from bcdseg.files import check_free, write_whole
from bcdseg.inference.writers import NOT_UNICODE, json_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.model_comparison import Comparison
    from bcdseg.evaluation.results import Evaluation

NAMES = ("report.html", "cases.html", "report.md", "report.json", "cases.csv", "checklist.md", "paper.md", "paper.tex")


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
    """Write the files of ``Evaluation.save``."""
    check_report_free(folder, overwrite=overwrite)
    from bcdseg.evaluation.report.content import report_of
    from bcdseg.evaluation.report.page import page
    from bcdseg.evaluation.report.scans import scans_document

    texts = {
        "checklist.md": checklist_markdown(evaluation),
        "paper.md": paper_markdown(evaluation),
        "paper.tex": paper_latex(evaluation),
        "cases.html": page(scans_document(evaluation)),
    }
    data = {"cases.csv": cases_csv(evaluation.cases), "report.json": json_bytes(as_data(evaluation, comparisons))}
    return save_document(
        report_of(evaluation, comparisons, training_curves), folder, "report", texts=texts, data=data, overwrite=overwrite
    )


def save_document(
    document: Document, folder: Path, name: str, *, texts: Mapping[str, str], data: Mapping[str, bytes], overwrite: bool
) -> Path:
    """Write a document as HTML and Markdown with its figures and other files.

    The page is written last, so that the files next to it exist before.

    Returns:
        The path of the page.
    """
    from bcdseg.evaluation.report.page import page

    contents = {f"figures/{file}": content for one in document.pictures for file, content in _files(one)}
    words = {**texts, f"{name}.md": markdown(document), f"{name}.html": page(document)}
    contents |= {**data, **{file: text.encode("utf-8", NOT_UNICODE) for file, text in words.items()}}
    check_free([folder / file for file in contents], overwrite=overwrite)
    for file, content in contents.items():
        write_whole(folder / file, content, overwrite=overwrite)
    return folder / f"{name}.html"


def _files(picture: Picture) -> list[tuple[str, bytes]]:
    files = [(f"{picture.name}.png", picture.png)]
    return [*files, (f"{picture.name}.svg", picture.svg)] if picture.svg else files
