"""Means and quantiles of scans that count several times, for many draws at once.

Every measure of a set of scans is a function of weights, draws x scans: how often each scan counts in each draw. Ones give the
measure itself, resampled weights its bootstrap, a thousand draws in a few operations. What is undefined in a draw is NaN there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
"""Draws x scans, whole numbers: how often each scan counts in each draw."""

Values = NDArray[np.float64]
"""One value for each draw; NaN where it is undefined."""


def once(scans: int) -> Weights:
    """One draw in which each scan counts once."""
    return np.ones((1, scans))


def divide(above: Values, below: Values) -> Values:
    """A quotient that is NaN, without a warning, where it would divide by 0."""
    quotient: Values = np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0)
    return quotient


def mean(values: NDArray[np.float64], weights: Weights) -> Values:
    """The weighted mean."""
    return divide(weights @ values, weights.sum(axis=1))


def quantile(values: NDArray[np.float64], weights: Weights, share: float) -> Values:
    """The quantile of the values, each repeated as often as it weighs: numpy's, linear between neighbours."""
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[:, order], axis=1)
    total = upto[:, -1] if len(values) else np.zeros(len(weights))
    place = np.maximum(total - 1, 0) * share
    low = np.floor(place)
    ends = [_at(values[order], upto, rank) for rank in (low, np.minimum(low + 1, total - 1))]
    return np.where(total > 0, ends[0] + (place - low) * (ends[1] - ends[0]), np.nan)


def _at(ordered: NDArray[np.float64], upto: Weights, rank: Values) -> Values:
    """The value at a rank, counted from 0, of the repeated values."""
    if not len(ordered):
        return np.full(len(upto), np.nan)
    found: Values = ordered[np.minimum((upto <= rank[:, None]).sum(axis=1), len(ordered) - 1)]
    return found
