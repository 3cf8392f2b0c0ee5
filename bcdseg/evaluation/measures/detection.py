"""Measures of lesion detection: lesions found, missed and false; sensitivity over false lesions (FROC)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import Measure, Rows, mean_of
from bcdseg.evaluation.metrics.detection import FALSE_PER_SCAN, FOUND_FROM, froc, froc_score
from bcdseg.evaluation.metrics.weighted import Values, Weights, divide
from bcdseg.evaluation.results_table import Cases

RULE = f"A lesion is found when a predicted region matches it with an IoU of {FOUND_FROM} or more, one region for each lesion."


def detection_measures(cases: Cases) -> Iterator[Measure]:
    """Yield the lesion detection measures; scans without a lesion have measures of their own."""
    lesions, clear, known = "scans with a lesion", "scans without a lesion", "scans whose true mask is known"
    rows: tuple[tuple[str, str, str, str, bool, str, Callable[[Cases], Rows], Callable[[Cases, Weights], Values]], ...] = (
        (
            "lesion_sensitivity",
            "Lesion sensitivity",
            f"The fraction of all lesions that is found. {RULE}",
            "fraction",
            True,
            lesions,
            _lesion,
            _found,
        ),
        (
            "missed_scan_rate",
            "Scans with a lesion and no outline",
            "The fraction of the scans with a lesion in which the predicted mask is empty.",
            "fraction",
            False,
            lesions,
            _lesion,
            mean_of(_empty, _lesion),
        ),
        (
            "false_lesions_per_scan",
            "False lesions per scan",
            f"The number of predicted regions that match no lesion, per scan. {RULE}",
            "count",
            False,
            known,
            _has_mask,
            mean_of(_false, _has_mask),
        ),
        (
            "false_lesion_rate",
            "False-lesion rate on normals",
            "The fraction of the scans without a lesion in which one is predicted.",
            "fraction",
            False,
            clear,
            _clear,
            mean_of(_outlined, _clear),
        ),
        (
            "false_lesions_per_normal",
            "False lesions per normal scan",
            "The number of predicted regions per scan without a lesion.",
            "count",
            False,
            clear,
            _clear,
            mean_of(_false, _clear),
        ),
    )
    for name, title, definition, unit, higher, which, where, values in rows:
        if where(cases).any() or not cases.has_mask.any():
            yield _measure(name, title, definition, unit, higher, partial(_one_part, name=which, where=where), values)
    if cases.has_regions:
        levels = ", ".join(f"{level:g}" for level in FALSE_PER_SCAN)
        yield _measure(
            "froc",
            "FROC score",
            f"The mean lesion sensitivity at {levels} false lesions per scan, when regions are ranked by their mean mask "
            f"probability; regions below the model's threshold are not predicted. {RULE}",
            "fraction",
            True,
            partial(_one_part, name=lesions, where=_lesion),
            _froc,
        )


def froc_curve(cases: Cases, weights: NDArray[np.float64] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false lesions per scan and lesion sensitivity over all thresholds on the regions' scores, for one draw."""
    counts = np.ones(len(cases)) if weights is None else weights
    scan, score, hit = cases.region_columns
    lesions = float(counts[cases.lesion] @ cases.outline["lesions_true"][cases.lesion])
    return froc(hit, score, lesions, float(counts[cases.has_mask].sum()), counts[scan])


def _measure(
    name: str,
    title: str,
    definition: str,
    unit: str,
    higher: bool,
    needs: Callable[[Cases], dict[str, Rows]],
    values: Callable[[Cases, Weights], Values],
) -> Measure:
    return Measure(
        name=name,
        title=title,
        definition=definition,
        section="detection",
        unit=unit,
        higher_is_better=higher,
        needs=needs,
        values=values,
    )


def _one_part(cases: Cases, *, name: str, where: Callable[[Cases], Rows]) -> dict[str, Rows]:
    return {name: where(cases)}


def _has_mask(cases: Cases) -> Rows:
    return cases.has_mask


def _lesion(cases: Cases) -> Rows:
    return cases.lesion


def _clear(cases: Cases) -> Rows:
    return cases.clear


def _false(cases: Cases) -> NDArray[np.float64]:
    return cases.outline["lesions_false"]


def _outlined(cases: Cases) -> NDArray[np.float64]:
    return cases.outlined


def _empty(cases: Cases) -> NDArray[np.float64]:
    return 1 - cases.outlined


def _found(cases: Cases, weights: Weights) -> Values:
    rows = cases.lesion
    found, true = cases.outline["lesions_found"][rows], cases.outline["lesions_true"][rows]
    return divide(weights[:, rows] @ found, weights[:, rows] @ true)


def _froc(cases: Cases, weights: Weights) -> Values:
    return np.array([froc_score(*froc_curve(cases, draw)) for draw in weights], np.float64)
