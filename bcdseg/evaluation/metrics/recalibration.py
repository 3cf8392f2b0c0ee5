"""Calibration slope and intercept: logistic recalibration of the probability of one class."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from bcdseg.evaluation.metrics.ranking import Positive, Scores
from bcdseg.evaluation.metrics.weighted import Values, Weights, once

SMALLEST = 1e-12  # probabilities are clipped to this, because 0 has no logit
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
