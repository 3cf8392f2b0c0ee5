"""Table of all scans of an evaluation, on a page of its own: to search, to filter and to sort."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bcdseg.evaluation.measures.format import NONE, number
from bcdseg.evaluation.report.blocks import Block, Cell, Document, Section, Table, Text
from bcdseg.model.card import DISCLAIMER

if TYPE_CHECKING:
    from bcdseg.evaluation.results import Evaluation
    from bcdseg.evaluation.results_table import Cases

DECIMALS = {"dice": "fraction", "hd95_px": "px", "hd95_mm": "mm", "lesions_false": "count"}
TITLES = {"dice": "Dice", "hd95_px": "HD95 (px)", "hd95_mm": "HD95 (mm)", "lesions_false": "false lesions"}


def scans_document(evaluation: Evaluation) -> Document:
    """Return the page with one row per scan."""
    return Document(
        title=f"Every scan: {evaluation.model} on {evaluation.dataset}",
        subtitle=f"{len(evaluation.cases)} scans. {DISCLAIMER}",
        warnings=(),
        sections=(Section("Scans", tuple(_blocks(evaluation))),),
        others=(("Report", "report.html"),),
    )


def _blocks(evaluation: Evaluation) -> Iterator[Block]:
    yield Text("One row per scan. A click on a header sorts. The file cases.csv has all measures.", "soft")
    columns = dict(_columns(evaluation.cases))
    rows = tuple(zip(*columns.values(), strict=True))
    yield Table(tuple(columns), rows, searchable=True)


def _columns(cases: Cases) -> Iterator[tuple[str, list[Cell]]]:
    rows = range(len(cases))
    yield "scan", [Cell(name) for name in cases.ids]
    if (cases.labels >= 0).any():
        yield "true class", [Cell(cases.label(at) or NONE) for at in rows]
    if cases.has_probabilities.any():
        yield "predicted class", [Cell(cases.classes[at] if at >= 0 else NONE) for at in cases.predicted]
        yield "confidence", [Cell(_value(value, "fraction")) for value in cases.probabilities.max(axis=1)]
    if cases.has_class.any():
        right = cases.predicted == cases.labels
        yield (
            "classification",
            [Cell(NONE if not known else "right" if one else "wrong") for known, one in zip(cases.has_class, right, strict=True)],
        )
    if cases.has_mask.any():
        yield "outline", [Cell(_outline(cases, at)) for at in rows]
        for name in ("dice", "hd95_px", "hd95_mm", "lesions_false"):
            column = cases.outline[name] if name == "lesions_false" else np.where(cases.lesion, cases.outline[name], np.nan)
            if not np.isnan(column).all():
                yield TITLES[name], [Cell(_value(value, DECIMALS[name])) for value in column]
    for fact in sorted({name for one in cases.facts for name in one}):
        yield fact, [Cell(NONE if (value := facts.get(fact)) is None else str(value)) for facts in cases.facts]


def _outline(cases: Cases, at: int) -> str:
    """Return whether a lesion is found, missed or invented, or rightly absent."""
    if not cases.has_mask[at]:
        return NONE
    outlined = cases.outlined[at] == 1
    if cases.lesion[at]:
        return "found" if cases.outline["lesions_found"][at] > 0 else "missed"
    return "false lesion" if outlined else "empty, correct"


def _value(value: float, unit: str) -> str:
    return NONE if np.isnan(value) else f"{value:.0f}" if unit == "count" else number(float(value), unit)
