"""Measures of lesion detection: lesions found, missed and false; sensitivity over false lesions (FROC)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import KNOWN_MASK, WITH_LESION, WITHOUT_LESION, Measure, mean_of
from bcdseg.evaluation.metrics.detection import FALSE_PER_SCAN, FOUND_FROM, froc, froc_score
from bcdseg.evaluation.metrics.weighted import Values, Weights, divide
from bcdseg.evaluation.results_table import Cases

RULE = f"A lesion is found when a predicted region matches it with an IoU of {FOUND_FROM} or more, one region for each lesion."


def detection_measures(cases: Cases) -> Iterator[Measure]:
    """Yield the lesion detection measures; scans without a lesion have measures of their own."""
    fraction, count = (partial(Measure, section="detection", unit=unit) for unit in ("fraction", "count"))
    found = [
        fraction(
            name="lesion_sensitivity",
            title="Lesion sensitivity",
            definition=f"The fraction of all lesions that is found. {RULE}",
            higher_is_better=True,
            needs=WITH_LESION,
            values=_found,
        ),
        fraction(
            name="missed_scan_rate",
            title="Scans with a lesion and no outline",
            definition="The fraction of the scans with a lesion in which the predicted mask is empty.",
            higher_is_better=False,
            needs=WITH_LESION,
            values=mean_of(lambda cases: 1 - cases.outlined, WITH_LESION),
        ),
        count(
            name="false_lesions_per_scan",
            title="False lesions per scan",
            definition=f"The number of predicted regions that match no lesion, per scan. {RULE}",
            higher_is_better=False,
            needs=KNOWN_MASK,
            values=mean_of(_false, KNOWN_MASK),
        ),
        fraction(
            name="false_lesion_rate",
            title="False-lesion rate on normals",
            definition="The fraction of the scans without a lesion in which one is predicted.",
            higher_is_better=False,
            needs=WITHOUT_LESION,
            values=mean_of(lambda cases: cases.outlined, WITHOUT_LESION),
        ),
        count(
            name="false_lesions_per_normal",
            title="False lesions per normal scan",
            definition="The number of predicted regions per scan without a lesion.",
            higher_is_better=False,
            needs=WITHOUT_LESION,
            values=mean_of(_false, WITHOUT_LESION),
        ),
    ]
    yield from (one for one in found if all(rows.any() for rows in one.needs(cases).values()))
    if cases.has_regions:
        levels = ", ".join(f"{level:g}" for level in FALSE_PER_SCAN)
        yield fraction(
            name="froc",
            title="FROC score",
            definition=f"The mean lesion sensitivity at {levels} false lesions per scan, when regions are ranked by their mean "
            f"mask probability; regions below the model's threshold are not predicted. {RULE}",
            higher_is_better=True,
            needs=WITH_LESION,
            values=_froc,
        )


def froc_curve(cases: Cases, weights: NDArray[np.float64] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false lesions per scan and lesion sensitivity over all thresholds on the regions' scores, for one draw."""
    counts = np.ones(len(cases)) if weights is None else weights
    scan, score, hit = cases.region_columns
    lesions = float(counts[cases.lesion] @ cases.outline["lesions_true"][cases.lesion])
    return froc(hit, score, lesions, float(counts[cases.has_mask].sum()), counts[scan])


def _false(cases: Cases) -> NDArray[np.float64]:
    return cases.outline["lesions_false"]


def _found(cases: Cases, weights: Weights) -> Values:
    rows = cases.lesion
    found, true = cases.outline["lesions_found"][rows], cases.outline["lesions_true"][rows]
    return divide(weights[:, rows] @ found, weights[:, rows] @ true)


def _froc(cases: Cases, weights: Weights) -> Values:
    return np.array([froc_score(*froc_curve(cases, draw)) for draw in weights], np.float64)
