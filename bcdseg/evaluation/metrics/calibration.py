"""Calibration metrics: pure functions over arrays.

Those that take weights (``weights.py``) give a value for each draw, NaN where it is undefined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from bcdseg.errors import InputError
from bcdseg.evaluation.measures.measure import Values, Weights, divide, mean, once
from bcdseg.evaluation.metrics.classification import UNKNOWN, Labels
from bcdseg.evaluation.metrics.ranking import steps

BINS = 15
TEMPERATURES = (0.1, 10.0)
SMALLEST = 1e-12  # probability whose logarithm is still taken

Scores = NDArray[np.float64]
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Bin:
    """The scans whose probability is above ``low`` and up to ``high`` (the first bin holds 0 too).

    Attributes:
        low: Lower edge.
        high: Upper edge.
        n: How many scans.
        probability: Their mean probability, None where there are none.
        share: The share of them of which it came true, None where there are none.
    """

    low: float
    high: float
    n: int
    probability: float | None
    share: float | None


def brier(probabilities: Scores, labels: Labels, weights: Weights | None = None) -> Values:
    """The mean, over scans, of the squared differences of all class probabilities from 0 or 1, summed: 0 best, 2 worst."""
    truth = np.eye(probabilities.shape[1])[labels]
    return mean(((probabilities - truth) ** 2).sum(axis=1), once(len(labels)) if weights is None else weights)


def negative_log_likelihood(probabilities: Scores, labels: Labels, weights: Weights | None = None) -> Values:
    """The mean of minus the logarithm of the true class's probability; probabilities below 1e-12 count as that."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    return mean(-np.log(np.maximum(of_truth, SMALLEST)), once(len(labels)) if weights is None else weights)


def calibration_error(probability: Scores, came_true: Right, weights: Weights | None = None, *, bins: int = BINS) -> Values:
    """Expected calibration error: how far mean probability and share come apart in a bin, on average over the scans.

    The bins are of equal width, each with its upper edge. Bins without scans count for nothing.
    With the probability of the called class and whether it was right this is the usual ECE; with the probability of one class
    and whether the scan is of it, that class's own.
    """
    counts = once(len(probability)) if weights is None else weights
    places = np.eye(bins)[_bin(probability, bins)]
    gaps = np.abs(counts @ (places * (probability - came_true)[:, None]))
    return divide(gaps.sum(axis=1), counts.sum(axis=1))


def reliability(probability: Scores, came_true: Right, *, bins: int = 10) -> tuple[Bin, ...]:
    """Mean probability against the share that came true, in bins of equal width."""
    place, edges = _bin(probability, bins), np.linspace(0, 1, bins + 1)
    found = []
    for at in range(bins):
        here = place == at
        n = int(here.sum())
        held = float(probability[here].mean()) if n else None
        found.append(Bin(float(edges[at]), float(edges[at + 1]), n, held, float(came_true[here].mean()) if n else None))
    return tuple(found)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature by which to divide the logits so that their softmax fits the labels best.

    The sum of the negative log likelihood is minimised over 0.1 to 10, plus half the squared logarithm of the temperature: next
    to nothing beside a hundred scans, but on a handful, all of them right, the likelihood alone would ask for 0.

    Args:
        logits: Scans x classes.
        labels: Number of the true class of each scan, -1 where unknown: left out.

    Returns:
        1 when no label is known.
    """
    values, truth = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    values, truth = values[truth != UNKNOWN], truth[truth != UNKNOWN]
    if not len(truth):
        return 1.0
    if not np.isfinite(values).all():
        raise InputError("The logits hold NaN or infinite values: no temperature can be fitted to them.")
    rows = np.arange(len(truth))

    def cost(logarithm: float) -> float:
        return float(-log_softmax(values / math.exp(logarithm), axis=1)[rows, truth].sum() + logarithm**2 / 2)

    low, high = map(math.log, TEMPERATURES)
    return float(math.exp(minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x))


def risk_coverage(confidence: Scores, right: Right, weights: Weights | None = None) -> tuple[Weights, Weights]:
    """Selective prediction: answer only the scans one is surest of; scans of one confidence are answered together.

    Returns:
        Draws x steps: the share of the scans that is answered, rising to 1, and the share of the answers that is wrong.
    """
    at = steps(confidence, right, weights)
    answered = (at.right + at.wrong)[:, 1:]
    return divide(answered, answered[:, -1:]), divide(at.wrong[:, 1:], answered)


def area_under_risk(confidence: Scores, right: Right, weights: Weights | None = None) -> Values:
    """The mean risk over all coverages (AURC): 0 when nothing is wrong, about the error rate when confidence says nothing.

    The risk at a step counts for the share of the scans that the step adds.
    """
    coverage, risk = risk_coverage(confidence, right, weights)
    if not coverage.shape[1]:
        return np.full(len(coverage), np.nan)
    added = np.diff(coverage, axis=1, prepend=0.0)
    return np.where(np.isnan(coverage[:, -1]), np.nan, (added * np.nan_to_num(risk)).sum(axis=1))


def _bin(probability: Scores, bins: int) -> NDArray[np.int64]:
    """The number of the bin of each probability; each bin has its upper edge."""
    return np.clip(np.ceil(probability * bins).astype(np.int64) - 1, 0, bins - 1)
