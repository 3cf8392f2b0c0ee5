"""All measures of a report, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bcdseg.evaluation.measures.calibration import calibration_measures
from bcdseg.evaluation.measures.classes import agreement_measures, class_measures, each_class
from bcdseg.evaluation.measures.clinical import clinical_measures, point_measures
from bcdseg.evaluation.measures.custom import Metric, custom_measures
from bcdseg.evaluation.measures.detection import detection_measures
from bcdseg.evaluation.measures.measure import KNOWN_MASK, Kind, Measure, mean_of
from bcdseg.evaluation.measures.outlines import COLUMNS, outline_measures, size_measures, subsets
from bcdseg.evaluation.metrics import classification
from bcdseg.evaluation.metrics.outline import TOLERANCE_MM
from bcdseg.evaluation.metrics.weighted import Values, Weights, mean
from bcdseg.evaluation.results_table import Cases
from bcdseg.inference.rules import Rules

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
"""Names of the few most important measures."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The distribution of a segmentation measure over one subset of the scans.

    Attributes:
        measure: Name of the measure, as in ``Outline``.
        subset: Subset of the scans: a class, a size, or empty for all scans with a lesion.
        n: Number of scans.
        mean: Mean.
        median: Median.
        sd: Standard deviation, None for a single scan.
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


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Options of the measures.

    Attributes:
        prevalences: Prevalences of the positive class at which predictive values and net benefit are stated too.
        class_order: Classes from the lowest to the highest, for weighted kappas; empty where the classes have no order.
        metrics: Metrics of the user.
        tolerance_mm: Tolerance of the normalised surface Dice in the table.
        rules: Decision rules of the model, None where they are unknown.
    """

    prevalences: tuple[float, ...] = ()
    class_order: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    tolerance_mm: float = TOLERANCE_MM
    rules: Rules | None = None


def all_measures(cases: Cases, options: MeasureOptions | None = None) -> tuple[Measure, ...]:
    """Return every measure that can be computed from this table, in the order of a report.

    Segmentation measures need scans whose true mask is known, classification measures scans whose class is known, and the joint
    score needs both. A measure that is left without scans is still returned: its estimate gives the reason for the missing value.
    """
    chosen = options or MeasureOptions()
    outlines, classes = bool(cases.has_mask.any()), bool(cases.has_class.any())
    points = chosen.rules.operating_points if chosen.rules is not None else ()
    found: list[Measure] = []
    if outlines:
        found += [*outline_measures(cases, chosen.tolerance_mm), *size_measures(cases), *detection_measures(cases)]
    if classes:
        found += class_measures(cases)
        found += agreement_measures(cases, chosen.class_order) if chosen.class_order else ()
        found += clinical_measures(cases, prevalences=chosen.prevalences, points=points)
        found += calibration_measures(cases)
    found += [*_both(cases, outlines and classes), *custom_measures(chosen.metrics)]
    return (*found, *point_measures(cases, chosen.rules)) if chosen.rules is not None else tuple(found)


def headlines(measures: Sequence[Measure], positive: str | None, *, distance: str) -> tuple[Measure, ...]:
    """Return the most important of some measures.

    Args:
        measures: Measures of a model.
        positive: Class whose sensitivity matters most, or None.
        distance: Hausdorff distance to include: in pixels, or as a fraction of the diagonal when scans vary in size.
    """
    by_name = {measure.name: measure for measure in measures}
    names = [name.format(positive=positive, distance=distance) for name in HEADLINES]
    return tuple(by_name[name] for name in names if name in by_name)


def most_important(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """Return the most important of the measures of a comparison, and the user's own."""
    areas = (one.name.partition("/")[2] for one in measures if one.name.lower() == "roc_auc/malignant")
    own = (one for one in measures if one.section == "custom")
    return (*headlines(measures, next(areas, None), distance="hd95_px"), *own)


def spreads(cases: Cases) -> tuple[Spread, ...]:
    """Return mean, median and quartiles of each segmentation measure: over all scans with a lesion, by class and by size."""
    found = []
    for subset, kind in subsets(cases).items():
        for name, *_ in COLUMNS:
            column = cases.outline[name][kind.rows(cases)]
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


MASK_AND_CLASS = Kind("scans with a predicted mask and class", lambda cases: ~np.isnan(cases.contradiction))


def _both(cases: Cases, both_known: bool) -> Iterator[Measure]:
    if not np.isnan(cases.contradiction).all():
        yield Measure(
            name="contradiction_rate",
            title="Contradictions",
            definition="The fraction of the scans whose mask and class contradict each other: a lesion is outlined and the "
            "negative class predicted, or the reverse.",
            section="both",
            unit="fraction",
            higher_is_better=False,
            needs=MASK_AND_CLASS,
            values=mean_of(lambda cases: cases.contradiction, MASK_AND_CLASS),
        )
    if both_known:
        yield Measure(
            name="joint_score",
            title="Joint score",
            definition="The mean of mask score (Dice of lesions, 1 for a normal scan with an empty mask) and balanced accuracy. "
            "It serves to choose a model, and is not reported alone.",
            section="both",
            unit="fraction",
            higher_is_better=True,
            needs=lambda cases: {**KNOWN_MASK(cases), **each_class(cases)},
            values=_joint,
        )


def _joint(cases: Cases, weights: Weights) -> Values:
    """Return the score of ``classification.joint_score``.

    The Dice of a scan without a lesion is 1 when the predicted mask is empty, and 0 otherwise.
    """
    masked = mean(cases.outline["dice"][cases.has_mask], weights[:, cases.has_mask])
    table = classification.confusion(cases.labels, cases.predicted, len(cases.classes), weights)
    both = np.array([masked, classification.balanced(table)])
    known = ~np.isnan(both)
    return np.where(known.any(axis=0), np.nansum(both, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
