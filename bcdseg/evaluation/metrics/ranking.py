"""Ranking metrics over all thresholds: pure functions over arrays.

They take weights (``weights.py``) and give one value for each draw, NaN where there is no positive or no other scan. A scan is
called positive when its score is at or above the threshold; scans of one score stand or fall together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import Values, Weights, divide, once

Scores = NDArray[np.float64]
Positive = NDArray[np.bool_]


class Steps(NamedTuple):
    """What is called positive at each threshold, from none to all.

    Attributes:
        thresholds: The different scores, falling, after one that nothing reaches.
        right: Draws x thresholds: positive scans at or above it.
        wrong: Draws x thresholds: other scans at or above it.
    """

    thresholds: Scores
    right: Weights
    wrong: Weights

    @property
    def sensitivity(self) -> Weights:
        """Of the positive scans, the share at or above each threshold."""
        return divide(self.right, self.right[:, -1:])

    @property
    def specificity(self) -> Weights:
        """Of the others, the share below each threshold."""
        return 1 - divide(self.wrong, self.wrong[:, -1:])

    @property
    def precision(self) -> Weights:
        """Of the scans at or above each threshold, the share that is positive; 1 where there is none."""
        return np.where(self.right + self.wrong > 0, divide(self.right, self.right + self.wrong), 1.0)


def steps(scores: Scores, positive: Positive, weights: Weights | None = None) -> Steps:
    """Count, at every threshold, the scans at or above it."""
    counts = once(len(scores)) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    right, wrong = (
        np.pad(np.cumsum(counts[:, order] * chosen[order], axis=1)[:, ends], ((0, 0), (1, 0))) for chosen in (positive, ~positive)
    )
    return Steps(np.concatenate(([np.inf], scores[order][ends])), right, wrong)


def roc_auc(scores: Scores, positive: Positive, weights: Weights | None = None) -> Values:
    """The probability that a positive scan scores above another one; a tie counts half."""
    at = steps(scores, positive, weights)
    area = (np.diff(at.wrong) * (at.right[:, 1:] + at.right[:, :-1]) / 2).sum(axis=1)
    return divide(area, at.right[:, -1] * at.wrong[:, -1])


def average_precision(scores: Scores, positive: Positive, weights: Weights | None = None) -> Values:
    """Area under precision against recall, in steps: the mean of the precision at each positive scan. Chance is their share."""
    at = steps(scores, positive, weights)
    area = (np.diff(at.right) * at.precision[:, 1:]).sum(axis=1)
    return np.where(at.wrong[:, -1] > 0, divide(area, at.right[:, -1]), np.nan)


def sensitivity_at(scores: Scores, positive: Positive, specificity: float, weights: Weights | None = None) -> Values:
    """The highest sensitivity of all thresholds whose specificity is at least this."""
    at = steps(scores, positive, weights)
    return _best(at.sensitivity, at.specificity >= specificity - 1e-12)


def specificity_at(scores: Scores, positive: Positive, sensitivity: float, weights: Weights | None = None) -> Values:
    """The highest specificity of all thresholds whose sensitivity is at least this."""
    at = steps(scores, positive, weights)
    return _best(at.specificity, at.sensitivity >= sensitivity - 1e-12)


def _best(values: Weights, allowed: NDArray[np.bool_]) -> Values:
    """The largest allowed value of each draw; NaN where sensitivity or specificity has none."""
    best: Values = np.where(allowed, values, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)
