"""Ranking metrics over all thresholds, as pure functions of arrays.

Functions with weights (see ``metrics/weighted.py``) return one value for each draw, NaN where there is no positive or no other
scan. A scan is predicted positive when its score is at or above the threshold, so scans of equal score are always predicted alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.metrics.weighted import Values, Weights, divide, once

Scores = NDArray[np.float64]
Positive = NDArray[np.bool_]


class Steps(NamedTuple):
    """The counts of scans predicted positive at each threshold, from none to all.

    Attributes:
        thresholds: Distinct scores in falling order, after one that is above all scores.
        right: True positives as draws x thresholds.
        wrong: False positives as draws x thresholds.
    """

    thresholds: Scores
    right: Weights
    wrong: Weights

    @property
    def sensitivity(self) -> Weights:
        """Fraction of the positive scans at or above each threshold."""
        return divide(self.right, self.right[:, -1:])

    @property
    def specificity(self) -> Weights:
        """Fraction of the other scans below each threshold."""
        return 1 - divide(self.wrong, self.wrong[:, -1:])

    @property
    def precision(self) -> Weights:
        """Fraction of the scans at or above each threshold that is positive; 1 where there are no such scans."""
        return np.where(self.right + self.wrong > 0, divide(self.right, self.right + self.wrong), 1.0)


def steps(y_true: Positive, y_score: Scores, weights: Weights | None = None) -> Steps:
    """Count the positive and the other scans at or above every threshold.

    Args:
        y_true: Whether each scan is positive.
        y_score: Score of each scan.
        weights: How often each scan counts in each draw; by default once.
    """
    counts = once(len(y_score)) if weights is None else weights
    order = np.argsort(-y_score, kind="stable")
    ends = np.flatnonzero(np.diff(y_score[order], append=-np.inf))
    right, wrong = (
        np.pad(np.cumsum(counts[:, order] * chosen[order], axis=1)[:, ends], ((0, 0), (1, 0))) for chosen in (y_true, ~y_true)
    )
    return Steps(np.concatenate(([np.inf], y_score[order][ends])), right, wrong)


def roc_auc(y_true: Positive, y_score: Scores, weights: Weights | None = None) -> Values:
    """Return the area under the ROC curve: the probability that a positive scan scores above another one; a tie counts half.

    Examples:
        >>> roc_auc(np.array([True, True, False]), np.array([0.9, 0.4, 0.4])).tolist()
        [0.75]
    """
    at = steps(y_true, y_score, weights)
    area = (np.diff(at.wrong) * (at.right[:, 1:] + at.right[:, :-1]) / 2).sum(axis=1)
    return divide(area, at.right[:, -1] * at.wrong[:, -1])


def average_precision(y_true: Positive, y_score: Scores, weights: Weights | None = None) -> Values:
    """Return the area under the precision-recall curve in steps: the mean precision at each positive scan.

    At chance level it is the fraction of positive scans.
    """
    at = steps(y_true, y_score, weights)
    area = (np.diff(at.right) * at.precision[:, 1:]).sum(axis=1)
    return np.where(at.wrong[:, -1] > 0, divide(area, at.right[:, -1]), np.nan)


def sensitivity_at(y_true: Positive, y_score: Scores, specificity: float, weights: Weights | None = None) -> Values:
    """Return the highest sensitivity of all thresholds that reach a specificity."""
    at = steps(y_true, y_score, weights)
    return _best(at.sensitivity, at.specificity >= specificity - 1e-12)


def specificity_at(y_true: Positive, y_score: Scores, sensitivity: float, weights: Weights | None = None) -> Values:
    """Return the highest specificity of all thresholds that reach a sensitivity."""
    at = steps(y_true, y_score, weights)
    return _best(at.specificity, at.sensitivity >= sensitivity - 1e-12)


def _best(values: Weights, allowed: NDArray[np.bool_]) -> Values:
    """Return the largest allowed value of each draw; NaN where sensitivity or specificity is undefined."""
    best: Values = np.where(allowed, values, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)
