"""Files of a report, with the JSON and CSV data of an evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg import __version__
from bcdseg.evaluation.measures.outlines import COLUMNS
from bcdseg.evaluation.report.blocks import Document, Picture, markdown
from bcdseg.evaluation.report.checklist import checklist_markdown
from bcdseg.evaluation.report.paper import paper_latex, paper_markdown
from bcdseg.extras import require
from bcdseg.files import check_free, check_writable, write_whole
from bcdseg.inference.writers import NOT_UNICODE, json_bytes
from bcdseg.table_text import csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.measures.measure import Estimate, Measure
    from bcdseg.evaluation.measures.subgroups import SubgroupAnalysis
    from bcdseg.evaluation.model_comparison import Comparison
    from bcdseg.evaluation.results import Evaluation
    from bcdseg.evaluation.results_table import Cases
    from bcdseg.evaluation.robustness import Robustness

FORMAT, FORMAT_VERSION = "bcdseg-evaluation", 2


def as_data(evaluation: Evaluation, comparisons: Sequence[Comparison] = ()) -> dict[str, Any]:
    """Return everything but the figures and the results table, in JSON types; undefined values are null."""
    cases = evaluation.cases
    classified = bool(cases.has_class.any())
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "model": {"name": evaluation.model, "about": evaluation.about},
        "dataset": {
            "name": evaluation.dataset,
            "scans": len(cases),
            "groups": len(set(cases.groups)),
            "classes": evaluation.counts,
            "with_mask": int(cases.has_mask.sum()),
            "with_lesion": int(cases.lesion.sum()),
            "problems": list(evaluation.problems),
        },
        "training_overlap": evaluation.training_overlap,
        "bootstrap": {"draws": evaluation.draws, "seed": evaluation.seed, "interval": 0.95, "over": "groups"},
        "measures": [{**_facts(one), **asdict(evaluation.estimates[one.name])} for one in evaluation.measures],
        "spreads": [asdict(one) for one in evaluation.spreads],
        "confusion": {"classes": list(cases.classes), "counts": evaluation.confusion.tolist()} if classified else None,
        "reliability": [asdict(one) for one in evaluation.reliability] if classified else None,
        "subgroups": None if evaluation.subgroups is None else _subgroups(evaluation.subgroups),
        "robustness": None if evaluation.robustness is None else _robustness(evaluation.robustness),
        "comparisons": [_comparison(one) for one in comparisons],
        "gallery": [{"id": one.id, "kind": one.kind} for one in evaluation.gallery],
    }
    finite: dict[str, Any] = _finite(content)
    return finite


def cases_csv(cases: Cases) -> bytes:
    """Return the results table as CSV: truth, prediction and segmentation measures, one line per scan.

    Measures of scans with a lesion are empty for other scans, so that the mean of a column is the mean of the report.
    """
    probabilities = [f"probability_{name}" for name in cases.classes] if cases.predicts_classes else []
    facts = sorted({name for one in cases.facts for name in one})
    columns = ["id", "group", "label", "predicted", *probabilities, "outlined", *cases.outline, "contradiction", "height", "width"]
    columns += [*cases.custom, *(f"fact_{name}" for name in facts)]
    of_lesions = {name for name, *_ in COLUMNS}
    outline = {
        name: np.where(cases.lesion, column, np.nan) if name in of_lesions else column for name, column in cases.outline.items()
    }
    rows: list[list[Any]] = []
    contradiction = cases.contradiction
    for at, name in enumerate(cases.ids):
        predicted = cases.classes[cases.predicted[at]] if cases.has_probabilities[at] else ""
        row: list[Any] = [name, cases.groups[at], cases.label(at) or "", predicted]
        row += [_short(value) for value in cases.probabilities[at][: len(probabilities)]]
        row += [_short(cases.outlined[at]), *(_short(column[at]) for column in outline.values())]
        row += [_short(contradiction[at]), *cases.size[at], *(_short(column[at]) for column in cases.custom.values())]
        rows.append([*row, *(cases.facts[at].get(fact, "") for fact in facts)])
    return csv_text(columns, rows).encode("utf-8", "backslashreplace")


def _facts(measure: Measure) -> dict[str, Any]:
    names = ("name", "title", "definition", "section", "unit", "higher_is_better")
    return {name: getattr(measure, name) for name in names}


def _subgroups(found: SubgroupAnalysis) -> dict[str, Any]:
    return {
        "unknown": dict(found.unknown),
        "subgroups": [
            {
                **{"fact": one.fact, "name": one.name, "scans": one.n, "groups": one.groups},
                **_measures(one.estimates, differences=one.differences),
            }
            for one in found.subgroups
        ],
    }


def _robustness(found: Robustness) -> dict[str, Any]:
    return {
        "untouched": _estimates(found.untouched),
        "steps": [
            {"degradation": one.degradation, "strength": one.strength, **_measures(one.estimates, changes=one.changes)}
            for one in found.steps
        ],
    }


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "first": found.first,
        "second": found.second,
        "differences": [
            {"name": name, "first": one.first, "second": one.second, **asdict(one.difference)}
            for name, one in found.differences.items()
        ],
        "shared_classes": list(found.shared),
        "not_tested": list(found.not_tested),
        "delong": {name: {**one.result._asdict(), "p_holm": one.p_holm} for name, one in found.auc_tests.items()},
    }


def _measures(found: Mapping[str, Estimate], **compared: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: _estimates(one) for name, one in {"measures": found, **compared}.items()}


def _estimates(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in found.items()}


def _finite(value: Any) -> Any:
    """Return the same value in JSON types, with null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


NAMES = ("report.html", "cases.html", "report.md", "report.json", "cases.csv", "checklist.md", "paper.md", "paper.tex")
FIGURES, FIGURE_FORMATS = "figures", (".png", ".svg")


def check_report_free(folder: Path, *, overwrite: bool) -> None:
    """Raise, before any work is done, when a report exists and may not be replaced, or when figures can't be drawn."""
    require("matplotlib", extra="evaluate", purpose="A report")
    check_document_free(folder, NAMES, overwrite=overwrite)


def check_document_free(folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Raise when one of these files or any figure is in a folder and may not be replaced, or when the folder can't be written."""
    figures = [path for path in sorted((folder / FIGURES).glob("*")) if path.suffix in FIGURE_FORMATS]
    check_free([*(folder / name for name in names), *figures], overwrite=overwrite)
    check_writable(folder)


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
    from bcdseg.evaluation.report.page import page, scans_document

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

    The page is written last, so that the files next to it exist before. Figures of a replaced report that this one doesn't have are
    removed.

    Returns:
        The path of the page.
    """
    from bcdseg.evaluation.report.page import page

    contents = {f"{FIGURES}/{file}": content for one in document.pictures for file, content in _files(one)}
    words = {**texts, f"{name}.md": markdown(document), f"{name}.html": page(document)}
    contents |= {**data, **{file: text.encode("utf-8", NOT_UNICODE) for file, text in words.items()}}
    check_free([folder / file for file in contents], overwrite=overwrite)
    earlier = _figures_of(folder / f"{name}.md")
    for file, content in contents.items():
        write_whole(folder / file, content, overwrite=overwrite)
    for figure in earlier - contents.keys():
        _remove(folder, figure)
    return folder / f"{name}.html"


def _files(picture: Picture) -> list[tuple[str, bytes]]:
    files = [(f"{picture.name}.png", picture.png)]
    return [*files, (f"{picture.name}.svg", picture.svg)] if picture.svg else files


FIGURE = re.compile(r"\]\((figures/[^()\s.]+)\.png\)")


def _figures_of(report: Path) -> set[str]:
    """Return the figures that a report in Markdown shows, in both formats; none where the file doesn't exist."""
    try:
        text = report.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {f"{figure}{suffix}" for figure in FIGURE.findall(text) for suffix in FIGURE_FORMATS}


def _remove(folder: Path, figure: str) -> None:
    """Remove a figure, and its folder when it is empty then."""
    (folder / figure).unlink(missing_ok=True)
    with suppress(OSError):
        (folder / figure).parent.rmdir()
