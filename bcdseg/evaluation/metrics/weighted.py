"""Weighted means and quantiles, for all draws of a bootstrap in a few array operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
"""Array of draws x scans with whole numbers: how often each scan counts in each draw."""

Values = NDArray[np.float64]
"""Array of one value per draw; NaN where it is undefined."""


def once(scans: int) -> Weights:
    """Return the weights of one draw in which each scan counts once."""
    return np.ones((1, scans))


def divide(above: Values, below: Values) -> Values:
    """Return a quotient that is NaN, without a warning, where the divisor is 0."""
    quotient: Values = np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0)
    return quotient


def mean(values: NDArray[np.float64], weights: Weights) -> Values:
    """Return the weighted mean."""
    return divide(weights @ values, weights.sum(axis=1))


def quantile(values: NDArray[np.float64], weights: Weights, fraction: float) -> Values:
    """Return the quantile of the values, each repeated as often as its weight: linear between neighbours, as in numpy."""
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[:, order], axis=1)
    total = upto[:, -1] if len(values) else np.zeros(len(weights))
    place = np.maximum(total - 1, 0) * fraction
    low = np.floor(place)
    ends = [_at(values[order], upto, rank) for rank in (low, np.minimum(low + 1, total - 1))]
    return np.where(total > 0, ends[0] + (place - low) * (ends[1] - ends[0]), np.nan)


def _at(ordered: NDArray[np.float64], upto: Weights, rank: Values) -> Values:
    """Return the value at a rank, counted from 0, of the repeated values."""
    if not len(ordered):
        return np.full(len(upto), np.nan)
    found: Values = ordered[np.minimum((upto <= rank[:, None]).sum(axis=1), len(ordered) - 1)]
    return found
