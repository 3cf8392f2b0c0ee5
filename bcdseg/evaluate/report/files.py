"""A report on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.evaluate.report.data import as_data, cases_csv
from bcdseg.files import check_free, write_whole
from bcdseg.infer.output import json_bytes

if TYPE_CHECKING:
    from bcdseg.evaluate.evaluation import Comparison, Evaluation

NAMES = ("report.html", "report.md", "report.json", "cases.csv")


def check_report_free(folder: Path, *, overwrite: bool) -> None:
    """Raise, before any work is done, when a report is in the folder already and may not be replaced."""
    check_free([folder / name for name in NAMES], overwrite=overwrite)


def save_report(evaluation: Evaluation, folder: Path, comparisons: Sequence[Comparison], *, overwrite: bool) -> Path:
    """See ``Evaluation.save``."""
    contents = {
        folder / "report.json": json_bytes(as_data(evaluation, comparisons)),
        folder / "cases.csv": cases_csv(evaluation.cases),
    }
    check_free(contents, overwrite=overwrite)
    for path, content in contents.items():
        write_whole(path, content, overwrite=overwrite)
    return folder / "report.html"
