"""Measures and their estimates on a set of scans.

Every measure is a function of weights (draws x scans): how often each scan counts in each draw. Weights of 1 give the measure
itself. Resampled weights give its bootstrap, a thousand draws in a few array operations. Undefined values are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.results_table import Cases

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


def quantile(values: NDArray[np.float64], weights: Weights, share: float) -> Values:
    """Return the quantile of the values, each repeated as often as its weight: linear between neighbours, as in numpy."""
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[:, order], axis=1)
    total = upto[:, -1] if len(values) else np.zeros(len(weights))
    place = np.maximum(total - 1, 0) * share
    low = np.floor(place)
    ends = [_at(values[order], upto, rank) for rank in (low, np.minimum(low + 1, total - 1))]
    return np.where(total > 0, ends[0] + (place - low) * (ends[1] - ends[0]), np.nan)


def _at(ordered: NDArray[np.float64], upto: Weights, rank: Values) -> Values:
    """Return the value at a rank, counted from 0, of the repeated values."""
    if not len(ordered):
        return np.full(len(upto), np.nan)
    found: Values = ordered[np.minimum((upto <= rank[:, None]).sum(axis=1), len(ordered) - 1)]
    return found


Rows = NDArray[np.bool_]
SECTIONS = ("segmentation", "detection", "classification", "calibration", "both")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a report, as data.

    Attributes:
        name: Short and stable name, for tables and JSON: ``dice``, ``dice/malignant``.
        title: Readable name.
        says: Definition in one sentence.
        section: One of ``SECTIONS``.
        unit: ``share`` (0 to 1), ``px``, ``mm``, ``count`` or ``score`` (another range).
        higher_is_better: Whether higher values are better; None where neither direction is.
        needs: Function that returns the kinds of scans that the measure needs, by name; undefined where one kind has none.
        values: Function that returns the value for each draw of weights, NaN where it is undefined.
    """

    name: str
    title: str
    says: str
    section: str
    unit: str
    higher_is_better: bool | None
    needs: Callable[[Cases], Mapping[str, Rows]]
    values: Callable[[Cases, Weights], Values]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval.

    Attributes:
        value: Value of the measure, None where it is undefined.
        low: Lower end, None where there is no interval.
        high: Upper end, None where there is no interval.
        n: Number of scans that enter the measure.
        groups: Number of groups of these scans.
        note: Reason for a missing value or interval, or a caveat; empty otherwise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    groups: int = 0
    note: str = ""


def mean_of(column: Callable[[Cases], NDArray[np.float64]], where: Callable[[Cases], Rows]) -> Callable[[Cases, Weights], Values]:
    """Return a measure's ``values`` function: the mean of a column over some scans."""

    def values(cases: Cases, weights: Weights) -> Values:
        rows = where(cases)
        return mean(column(cases)[rows], weights[:, rows])

    return values


def median_of(column: Callable[[Cases], NDArray[np.float64]], where: Callable[[Cases], Rows]) -> Callable[[Cases, Weights], Values]:
    """Return a measure's ``values`` function: the median of a column over some scans."""

    def values(cases: Cases, weights: Weights) -> Values:
        rows = where(cases)
        return quantile(column(cases)[rows], weights[:, rows], 0.5)

    return values


def by_selection(function: Callable[[Cases], float | None]) -> Callable[[Cases, Weights], Values]:
    """Return a measure's ``values`` function for any function of a table; it is slow, because each draw becomes a table."""

    def values(cases: Cases, weights: Weights) -> Values:
        tables = (cases.select(np.repeat(np.arange(len(cases)), draw.astype(np.int64))) for draw in weights)
        found = (function(table) for table in tables)
        return np.array([np.nan if value is None else value for value in found], np.float64)

    return values
