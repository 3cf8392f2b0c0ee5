"""Measures of the size error: long axis and area of the lesion, with Bland-Altman limits of agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bcdseg.evaluation.measures.measure import Measure, Rows
from bcdseg.evaluation.metrics.size import Agreement, bland_altman
from bcdseg.evaluation.metrics.weighted import Values, Weights, mean
from bcdseg.evaluation.results_table import Cases

SIZES = (
    ("long_axis_mm", "Long axis in mm", "mm"),
    ("area_mm2", "Area in mm²", "mm2"),
    ("long_axis_px", "Long axis in pixels", "px"),
)
Needs = Callable[[Cases], dict[str, Rows]]
Compute = Callable[[Cases, Weights], Values]
LIMITS = {"bias": "bias", "low": "lower limit of agreement", "high": "upper limit of agreement"}
RULE = "Over scans with a lesion and a predicted region, of which the largest is measured; missed lesions have no size error."


def size_measures(cases: Cases) -> Iterator[Measure]:
    """Yield bias, limits of agreement and mean absolute error of the sizes; in mm if any scan has a pixel size, else in pixels."""
    known = [row for row in SIZES if measured(cases, row[0]).any()]
    for name, title, unit in [row for row in known if row[2] != "px"] or known:
        needs = partial(_needs, name=name)
        for end, limit in LIMITS.items():
            definition = (
                f"The mean of predicted minus true size. {RULE}"
                if end == "bias"
                else f"The bias {'minus' if end == 'low' else 'plus'} 1.96 standard deviations of the differences. {RULE}"
            )
            values = partial(_limit, name=name, end=end)
            yield _measure(f"{name}_{end}", f"{title}, {limit}", definition, unit, None, needs, values)
        definition = f"The mean absolute difference of predicted and true size. {RULE}"
        values = partial(_absolute_error, name=name)
        yield _measure(f"{name}_error", f"{title}, mean absolute error", definition, unit, False, needs, values)


def measured(cases: Cases, name: str) -> Rows:
    """Return where both the true and the predicted size are known."""
    rows: Rows = np.isfinite(cases.outline[f"true_{name}"]) & np.isfinite(cases.outline[f"predicted_{name}"])
    return rows


def agreement(cases: Cases, name: str, weights: Weights | None = None) -> Agreement:
    """Return bias and limits of agreement of a size."""
    rows = measured(cases, name)
    counts = None if weights is None else weights[:, rows]
    return bland_altman(cases.outline[f"true_{name}"][rows], cases.outline[f"predicted_{name}"][rows], counts)


def _measure(name: str, title: str, definition: str, unit: str, higher: bool | None, needs: Needs, values: Compute) -> Measure:
    return Measure(
        name=name,
        title=title,
        definition=definition,
        section="size",
        unit=unit,
        higher_is_better=higher,
        signed=higher is None,
        needs=needs,
        values=values,
    )


def _needs(cases: Cases, *, name: str) -> dict[str, Rows]:
    return {"scans with a true and a predicted lesion": measured(cases, name)}


def _limit(cases: Cases, weights: Weights, *, name: str, end: str) -> Values:
    limit: Values = getattr(agreement(cases, name, weights), end)
    return limit


def _absolute_error(cases: Cases, weights: Weights, *, name: str) -> Values:
    rows = measured(cases, name)
    error = np.abs(cases.outline[f"predicted_{name}"][rows] - cases.outline[f"true_{name}"][rows])
    return mean(error, weights[:, rows])
