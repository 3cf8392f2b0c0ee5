"""Measures of calibration: of the predicted probabilities, and of confidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.classes import Ranked, against_rest, class_measure, one_and_rest
from bcdseg.evaluation.measures.measure import KNOWN_CLASS, Measure, Rows
from bcdseg.evaluation.metrics import calibration
from bcdseg.evaluation.metrics.calibration import calibration_intercept, calibration_slope
from bcdseg.evaluation.metrics.weighted import Values, Weights, mean
from bcdseg.evaluation.results_table import Cases

LIMITS = {"brier": (0.0, 2.0), "nll": (0.0, np.inf), "overconfidence": (-1.0, 1.0)}
"""Lowest and highest possible values of the scores."""


_measure = partial(class_measure, section="calibration")


def calibration_measures(cases: Cases) -> Iterator[Measure]:
    """Yield the calibration measures of the predicted probabilities."""
    rows: list[tuple[str, str, str, str, bool | None, Callable[[Cases, Weights], Values]]] = [
        (
            "ece",
            "Calibration error (ECE)",
            f"The mean difference between confidence and accuracy, in {calibration.BINS} bins of equal width.",
            "fraction",
            False,
            _ece,
        ),
        (
            "brier",
            "Brier score",
            "The squared differences of all class probabilities from the truth, summed: 0 is best, 2 is worst.",
            "score",
            False,
            partial(_of_truth, measure=calibration.brier),
        ),
        (
            "nll",
            "Negative log-likelihood",
            "The mean of minus the logarithm of the true class's probability.",
            "score",
            False,
            partial(_of_truth, measure=calibration.negative_log_likelihood),
        ),
        (
            "overconfidence",
            "Overconfidence",
            "Mean confidence minus accuracy: above 0 the confidence is too high.",
            "score",
            None,
            _overconfidence,
        ),
        (
            "aurc",
            "Area under the risk-coverage curve (AURC)",
            "The error rate of the most confident predictions, averaged over all coverages.",
            "fraction",
            False,
            _aurc,
        ),
    ]
    for name, title, definition, unit, higher, values in rows:
        yield _measure(name, title, definition, KNOWN_CLASS, values, unit=unit, higher_is_better=higher, limits=LIMITS.get(name))
    for number, one in enumerate(cases.classes):
        yield _measure(
            f"ece/{one}",
            f"Calibration error, {one}",
            f"The mean difference between the probability of {one} and the fraction of {one} scans, in {calibration.BINS} bins.",
            KNOWN_CLASS,
            partial(against_rest, number=number, measure=calibration.calibration_error),
            higher_is_better=False,
        )
    if cases.positive is not None:
        yield from _recalibration(cases.positive, cases.classes.index(cases.positive))


def _recalibration(positive: str, number: int) -> Iterator[Measure]:
    for name, title, definition, metric in (
        (
            "calibration_slope",
            "Calibration slope",
            f"The slope of a logistic regression of {positive} on the logit of its probability: 1 is calibrated; below 1 the "
            "probabilities are too extreme, above 1 too moderate.",
            calibration_slope,
        ),
        (
            "calibration_intercept",
            "Calibration intercept",
            f"The intercept of that regression with the slope fixed at 1 (calibration in the large): 0 is calibrated; below 0 the "
            f"probabilities of {positive} are too high.",
            calibration_intercept,
        ),
    ):
        values = partial(against_rest, number=number, measure=metric)
        needs = partial(one_and_rest, number=number)
        yield _measure(name, f"{title}, {positive}", definition, needs, values, unit="score", higher_is_better=None)


def _confidence(cases: Cases) -> tuple[Rows, NDArray[np.float64], Rows]:
    """Return the correctness and the confidence of the predicted class for scans of known class, and which scans these are."""
    rows = cases.has_class
    return cases.predicted[rows] == cases.labels[rows], cases.probabilities[rows].max(axis=1, initial=0.0), rows


def _ece(cases: Cases, weights: Weights) -> Values:
    right, confidence, rows = _confidence(cases)
    return calibration.calibration_error(right, confidence, weights[:, rows])


def _overconfidence(cases: Cases, weights: Weights) -> Values:
    right, confidence, rows = _confidence(cases)
    return mean(confidence - right, weights[:, rows])


def _aurc(cases: Cases, weights: Weights) -> Values:
    right, confidence, rows = _confidence(cases)
    return calibration.area_under_risk(right, confidence, weights[:, rows])


def _of_truth(cases: Cases, weights: Weights, *, measure: Ranked) -> Values:
    rows = cases.has_class
    return measure(cases.labels[rows], cases.probabilities[rows], weights[:, rows])
