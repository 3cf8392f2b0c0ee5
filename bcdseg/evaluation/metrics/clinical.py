"""Metrics of clinical use: predictive values at a prevalence, number needed to biopsy, net benefit.

Functions with weights (see ``metrics/weighted.py``) return one value for each draw, NaN where it is undefined. A scan without a
lesion has no rule of its own here: what counts is the true class and the probability of the positive class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bcdseg.evaluation.metrics.classification import Positive, Scores
from bcdseg.evaluation.metrics.weighted import Values, Weights, divide, once


class PredictiveValues(NamedTuple):
    """The predictive values of a test.

    Attributes:
        positive: Positive predictive value (PPV): fraction of the positive results that is right.
        negative: Negative predictive value (NPV): fraction of the negative results that is right.
    """

    positive: Values
    negative: Values


def predictive_values(sensitivity: Values, specificity: Values, prevalence: float) -> PredictiveValues:
    """Return PPV and NPV at a prevalence other than that of the test scans, by Bayes' theorem.

    With sensitivity s, specificity c and prevalence p: PPV = s p / (s p + (1 - c)(1 - p)) and
    NPV = c (1 - p) / (c (1 - p) + (1 - s) p). A value is NaN where no result is positive (PPV) or negative (NPV).

    Reference: Altman and Bland, "Diagnostic tests 2: predictive values", BMJ 1994.

    Examples:
        >>> found = predictive_values(np.array([0.9]), np.array([0.8]), 0.25)
        >>> [value.round(2).tolist() for value in found]
        [[0.6], [0.96]]
    """
    right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    free, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return PredictiveValues(divide(right, right + wrong), divide(free, free + missed))


def number_needed_to_biopsy(ppv: Values) -> Values:
    """Return the number of biopsies for one cancer found, when all positive results and no others lead to a biopsy: 1 / PPV.

    It is NaN where no positive result is right.
    """
    return divide(np.ones_like(ppv), np.nan_to_num(ppv))


def net_benefit(
    y_true: Positive, y_prob: Scores, threshold: float, weights: Weights | None = None, *, prevalence: float | None = None
) -> Values:
    """Return the net benefit of treating each scan whose probability reaches a threshold.

    With n scans and the threshold probability t: net benefit = TP / n - FP / n * t / (1 - t), in true positives per scan. At
    another prevalence p: net benefit = sensitivity * p - (1 - specificity) * (1 - p) * t / (1 - t).

    Treating nobody has a net benefit of 0. It is NaN without scans, and at a given prevalence without one of the two kinds.

    Reference: Vickers and Elkin, "Decision curve analysis", Medical Decision Making 2006.

    Args:
        y_true: Whether each scan is positive.
        y_prob: Probability of the positive class.
        threshold: Probability from which a scan is treated, above 0 and below 1.
        weights: How often each scan counts in each draw; by default once.
        prevalence: Fraction of positive scans; by default that of these scans.

    Examples:
        >>> net_benefit(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), 0.5).tolist()
        [0.0]
    """
    counts = once(len(y_true)) if weights is None else weights
    treated = y_prob >= threshold
    odds = threshold / (1 - threshold)
    right, wrong = counts @ (treated & y_true), counts @ (treated & ~y_true)
    if prevalence is None:
        return divide(right - wrong * odds, counts.sum(axis=1))
    return divide(right, counts @ y_true) * prevalence - divide(wrong, counts @ ~y_true) * (1 - prevalence) * odds


def net_benefit_of_all(prevalence: float, threshold: float) -> float:
    """Return the net benefit of treating every scan: p - (1 - p) t / (1 - t)."""
    return prevalence - (1 - prevalence) * threshold / (1 - threshold)
