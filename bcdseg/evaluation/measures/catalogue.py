"""All measures of a report, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bcdseg.evaluation.measures.classes import calibration_measures, class_measures
from bcdseg.evaluation.measures.measure import Measure, Rows, Values, Weights, mean, mean_of
from bcdseg.evaluation.measures.outlines import PIXELS, detection_measures, outline_measures, subsets
from bcdseg.evaluation.metrics import classification
from bcdseg.evaluation.results_table import Cases

HEADLINES = (
    "dice",
    "{distance}",
    "lesion_sensitivity",
    "false_lesion_rate",
    "accuracy",
    "balanced_accuracy",
    "class_recall/{positive}",
    "roc_auc/{positive}",
    "roc_auc_macro",
    "ece",
    "contradiction_rate",
    "joint_score",
)
"""The few measures to read first."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a measure of outlines is spread over the scans of one kind.

    Attributes:
        measure: Name of the measure, as in ``Outline``.
        subset: Which scans: a class, a size, or empty for all with a lesion.
        n: How many scans.
        mean: The mean.
        median: The median.
        sd: Standard deviation, None of one scan.
        low: First quartile.
        high: Third quartile.
    """

    measure: str
    subset: str
    n: int
    mean: float
    median: float
    sd: float | None
    low: float
    high: float


def all_measures(cases: Cases) -> tuple[Measure, ...]:
    """Every measure that this table can have, in the order of a report.

    Outlines are measured where any true mask is known, classes where any is, the joint score where both are. A measure that is
    left without scans is still there: its estimate says why it has no value.
    """
    outlines, classes = bool(cases.has_mask.any()), bool(cases.has_class.any())
    found: list[Measure] = []
    if outlines:
        found += [*outline_measures(cases), *detection_measures(cases)]
    if classes:
        found += [*class_measures(cases), *calibration_measures(cases)]
    return (*found, *_both(cases, outlines and classes))


def headlines(measures: Sequence[Measure], positive: str | None, *, distance: str) -> tuple[Measure, ...]:
    """Those of the measures to read first.

    Args:
        measures: Of a model.
        positive: The class whose sensitivity matters most, or None.
        distance: The one of the Hausdorff distances that is told: in pixels, or as a share of the scan where sizes vary.
    """
    by_name = {measure.name: measure for measure in measures}
    names = [name.format(positive=positive, distance=distance) for name in HEADLINES]
    return tuple(by_name[name] for name in names if name in by_name)


def spreads(cases: Cases) -> tuple[Spread, ...]:
    """Mean, median and spread of each measure of outlines: of all scans with a lesion, by class and by size."""
    found = []
    for subset, (where, _) in subsets(cases).items():
        for name, *_ in PIXELS:
            column = cases.outline[name][where(cases)]
            column = column[~np.isnan(column)]
            if len(column):
                low, median, high = (float(value) for value in np.quantile(column, (0.25, 0.5, 0.75)))
                sd = float(column.std(ddof=1)) if len(column) > 1 else None
                found.append(
                    Spread(
                        measure=name,
                        subset=subset,
                        n=len(column),
                        mean=float(column.mean()),
                        median=median,
                        sd=sd,
                        low=low,
                        high=high,
                    )
                )
    return tuple(found)


def _both(cases: Cases, both_known: bool) -> Iterator[Measure]:
    if not np.isnan(cases.contradiction).all():
        yield Measure(
            name="contradiction_rate",
            title="Contradictions",
            says="The share of scans in which a lesion is outlined but the class says there is none, or the other way round.",
            section="both",
            unit="share",
            higher_is_better=False,
            needs=lambda cases: {"scans with both answers": _answered(cases)},
            values=mean_of(lambda cases: cases.contradiction, _answered),
        )
    if both_known:
        yield Measure(
            name="joint_score",
            title="Joint score",
            says="The mean of mask score (Dice of lesions, 1 for a normal scan left blank) and balanced accuracy. "
            "To choose by, not to report alone.",
            section="both",
            unit="share",
            higher_is_better=True,
            needs=lambda cases: {"scans whose mask or class is known": cases.has_mask | cases.has_class},
            values=_joint,
        )


def _answered(cases: Cases) -> Rows:
    return ~np.isnan(cases.contradiction)


def _joint(cases: Cases, weights: Weights) -> Values:
    """As ``joint.joint_score``: Dice is 1 where nothing is outlined in an empty scan and 0 where something is."""
    masked = mean(cases.outline["dice"][cases.has_mask], weights[:, cases.has_mask])
    table = classification.confusion(cases.labels, cases.called, len(cases.classes), weights)
    both = np.array([masked, classification.balanced(table)])
    known = ~np.isnan(both)
    return np.where(known.any(axis=0), np.nansum(both, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
