"""Calibration metrics, as pure functions of arrays; slope and intercept of a logistic recalibration.

Functions with weights (see ``metrics/weighted.py``) return a value for each draw, NaN where it is undefined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logit

from bcdseg.errors import InputError
from bcdseg.evaluation.metrics.classification import UNKNOWN, Labels, Positive, steps
from bcdseg.evaluation.metrics.weighted import Values, Weights, divide, mean, once
from bcdseg.networks.config import LARGEST_OFFSET

BINS = 15
TEMPERATURES = (0.1, 10.0)
SMALLEST = 1e-12  # probabilities are clipped to this, because 0 has no logarithm and no logit

Scores = NDArray[np.float64]
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: the scans whose probability is above ``low`` and at most ``high``.

    The first bin contains 0 too.

    Attributes:
        low: Lower edge.
        high: Upper edge.
        n: Number of scans.
        probability: Mean probability of these scans, None where there are none.
        fraction: Fraction of these scans for which the predicted event is true, None where there are none.
    """

    low: float
    high: float
    n: int
    probability: float | None
    fraction: float | None


def brier(y_true: Labels, y_prob: Scores, weights: Weights | None = None) -> Values:
    """Return the mean over scans of the squared errors of all class probabilities, summed: 0 is best, 2 is worst."""
    truth = np.eye(y_prob.shape[1])[y_true]
    return mean(((y_prob - truth) ** 2).sum(axis=1), once(len(y_true)) if weights is None else weights)


def negative_log_likelihood(y_true: Labels, y_prob: Scores, weights: Weights | None = None) -> Values:
    """Return the mean negative logarithm of the true class's probability; probabilities below 1e-12 count as 1e-12."""
    of_truth = y_prob[np.arange(len(y_true)), y_true]
    return mean(-np.log(np.maximum(of_truth, SMALLEST)), once(len(y_true)) if weights is None else weights)


def calibration_error(y_true: Right, y_prob: Scores, weights: Weights | None = None, *, bins: int = BINS) -> Values:
    """Return the expected calibration error: the mean over scans of their bin's |mean probability - observed fraction|.

    The bins are of equal width, each including its upper edge. Empty bins are ignored.
    With the probability of the predicted class and whether it is correct, this is the usual ECE; with the probability of one class
    and whether the scan is of that class, it is the class-wise ECE.
    """
    counts = once(len(y_prob)) if weights is None else weights
    places = np.eye(bins)[_bin(y_prob, bins)]
    gaps = np.abs(counts @ (places * (y_prob - y_true)[:, None]))
    return divide(gaps.sum(axis=1), counts.sum(axis=1))


def reliability(y_true: Right, y_prob: Scores, *, bins: int = 10) -> tuple[Bin, ...]:
    """Return mean probability and observed fraction in bins of equal width."""
    place, edges = _bin(y_prob, bins), np.linspace(0, 1, bins + 1)
    found = []
    for at in range(bins):
        here = place == at
        n = int(here.sum())
        means = (float(y_prob[here].mean()), float(y_true[here].mean())) if n else (None, None)
        found.append(Bin(float(edges[at]), float(edges[at + 1]), n, *means))
    return tuple(found)


def fit_temperature(logits: ArrayLike, labels: ArrayLike, offsets: Sequence[float] = ()) -> float:
    """Return the temperature that divides the logits so that their softmax fits the labels best.

    It minimises the sum of the negative log-likelihoods over 0.1 to 10, plus half the squared logarithm of the temperature. That
    penalty is negligible for a hundred scans. Without it, a handful of scans that are all correct would lead to a temperature of 0.

    Args:
        logits: Array of scans x classes.
        labels: Index of the true class of each scan, -1 where it is unknown; such scans are ignored.
        offsets: Amount that is added to each class after the division; empty for none.

    Returns:
        The temperature, 1 when no label is known.
    """
    values, truth = _known(logits, labels)
    if not len(truth):
        return 1.0
    added = np.array(offsets) if len(offsets) else 0.0

    def cost(logarithm: float) -> float:
        return _log_loss(values / math.exp(logarithm) + added, truth) + logarithm**2 / 2

    low, high = map(math.log, TEMPERATURES)
    return float(math.exp(minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x))


def fit_offset(logits: ArrayLike, labels: ArrayLike, at: int) -> tuple[float, float]:
    """Return the temperature and the offset of one class that fit the labels best together.

    The offset adapts the probabilities to another frequency of that class (Godau et al., Deployment of image analysis algorithms
    under prevalence shifts, MICCAI 2023). It minimises the same sum as ``fit_temperature``, plus a twentieth of its square, so that
    it stays finite where no scan has that class.

    Args:
        logits: Array of scans x classes.
        labels: Index of the true class of each scan, -1 where it is unknown; such scans are ignored.
        at: Index of the class with the offset.

    Returns:
        Temperature and offset, 1 and 0 when no label is known.
    """
    values, truth = _known(logits, labels)
    if not len(truth):
        return 1.0, 0.0
    chosen = np.arange(values.shape[1]) == at

    def cost(point: Scores) -> float:
        logarithm, offset = point.tolist()
        return _log_loss(values / math.exp(logarithm) + offset * chosen, truth) + float(logarithm**2 / 2 + offset**2 / 20)

    low, high = map(math.log, TEMPERATURES)
    bounds = ((low, high), (-LARGEST_OFFSET, LARGEST_OFFSET))
    best: Scores = minimize(cost, np.zeros(2), bounds=bounds, method="L-BFGS-B").x
    return math.exp(best[0]), float(best[1])


def _known(logits: ArrayLike, labels: ArrayLike) -> tuple[Scores, NDArray[np.int64]]:
    """Return logits and label of the scans whose class is known."""
    values, truth = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    values, truth = values[truth != UNKNOWN], truth[truth != UNKNOWN]
    if not np.isfinite(values).all():
        raise InputError("The logits contain NaN or infinite values: no temperature can be fitted to them.")
    return values, truth


def _log_loss(logits: Scores, truth: NDArray[np.int64]) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(truth)), truth].sum())


def risk_coverage(right: Right, confidence: Scores, weights: Weights | None = None) -> tuple[Weights, Weights]:
    """Return the risk-coverage curve of selective prediction; scans of equal confidence are covered together.

    Returns:
        Coverage (fraction of the scans that are predicted, the most confident first, rising to 1) and risk (fraction of these
        predictions that is wrong), each draws x steps.
    """
    at = steps(right, confidence, weights)
    covered = (at.right + at.wrong)[:, 1:]
    return divide(covered, covered[:, -1:]), divide(at.wrong[:, 1:], covered)


def area_under_risk(right: Right, confidence: Scores, weights: Weights | None = None) -> Values:
    """Return the mean risk over all coverages (AURC): 0 without errors, about the error rate when confidence is uninformative.

    The risk at a step is weighted by the fraction of the scans that the step adds.
    """
    coverage, risk = risk_coverage(right, confidence, weights)
    if not coverage.shape[1]:
        return np.full(len(coverage), np.nan)
    added = np.diff(coverage, axis=1, prepend=0.0)
    return np.where(np.isnan(coverage[:, -1]), np.nan, (added * np.nan_to_num(risk)).sum(axis=1))


def _bin(probability: Scores, bins: int) -> NDArray[np.int64]:
    """Return the index of the bin of each probability; each bin includes its upper edge."""
    return np.clip(np.ceil(probability * bins).astype(np.int64) - 1, 0, bins - 1)


STEPS = 50  # of Newton's method
CLOSE = 1e-9  # last step of a fit that has converged
SAME = 1e-9  # difference of logits up to which probabilities are equal
STEEP = 1e3  # coefficients above this mean that the classes are separated, and have no finite fit


def calibration_slope(y_true: Positive, y_prob: Scores, weights: Weights | None = None) -> Values:
    """Return the calibration slope: b of the logistic regression logit P(y = 1) = a + b logit(p).

    It is 1 for calibrated probabilities. Below 1 they are too extreme, above 1 too moderate. It is NaN without positive or without
    other scans, where the probabilities separate them completely, and where they are all equal.

    Reference: Van Calster et al., "Calibration: the Achilles heel of predictive analytics", BMC Medicine 2019.

    Args:
        y_true: Whether each scan is positive.
        y_prob: Probability of the positive class.
        weights: How often each scan counts in each draw; by default once.
    """
    score = _logit(y_prob)
    slope = _fit(y_true, np.stack([np.ones_like(score), score], axis=1), np.zeros_like(score), weights)[:, 1]
    drawn = (once(len(score)) if weights is None else weights) > 0
    lowest, highest = (np.where(drawn, score, end) for end in (np.inf, -np.inf))
    return np.where(highest.max(axis=1, initial=-np.inf) - lowest.min(axis=1, initial=np.inf) > SAME, slope, np.nan)


def calibration_intercept(y_true: Positive, y_prob: Scores, weights: Weights | None = None) -> Values:
    """Return the calibration intercept (calibration in the large): a of logit P(y = 1) = a + logit(p).

    It is 0 when the mean probability equals the fraction of positive scans, below 0 when probabilities are too high. It is NaN
    without positive or without other scans.

    Args:
        y_true: Whether each scan is positive.
        y_prob: Probability of the positive class.
        weights: How often each scan counts in each draw; by default once.
    """
    score = _logit(y_prob)
    return _fit(y_true, np.ones((len(score), 1)), score, weights)[:, 0]


def _logit(probability: Scores) -> Scores:
    score: Scores = logit(np.clip(probability, SMALLEST, 1 - SMALLEST))
    return score


def _fit(y_true: Positive, features: Scores, offset: Scores, weights: Weights | None) -> Weights:
    """Return the coefficients of a logistic regression for each draw, by Newton's method; NaN where there is no finite fit."""
    counts = once(len(y_true)) if weights is None else weights
    terms = features.shape[1]
    coefficients = np.zeros((len(counts), terms))
    step = np.full_like(coefficients, np.inf)
    ridge = 1e-12 * np.eye(terms)  # keeps an empty draw solvable; it is removed below
    for _ in range(STEPS):
        probability = expit(coefficients @ features.T + offset)
        gradient = (counts * (y_true - probability)) @ features
        curvature = np.einsum("ds,si,sj->dij", counts * probability * (1 - probability), features, features)
        step = np.linalg.solve(curvature + ridge, gradient[:, :, None])[:, :, 0]
        coefficients = np.clip(coefficients + np.clip(step, -5, 5), -2 * STEEP, 2 * STEEP)
        if np.abs(step).max(initial=0) < CLOSE:
            break
    defined = (counts @ y_true > 0) & (counts @ ~y_true > 0) & (np.abs(step) < 1e-6).all(axis=1)
    defined &= (np.abs(coefficients) < STEEP).all(axis=1)
    return np.where(defined[:, None], coefficients, np.nan)
