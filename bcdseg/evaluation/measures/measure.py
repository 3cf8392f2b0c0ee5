"""Measures and their estimates on a set of scans.

Every measure is a function of weights (draws x scans): how often each scan counts in each draw. Weights of 1 give the measure
itself. Resampled weights give its bootstrap, a thousand draws in a few array operations. Undefined values are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.metrics.weighted import Values, Weights, mean, quantile
from bcdseg.evaluation.results_table import Cases

Rows = NDArray[np.bool_]
SECTIONS = ("segmentation", "size", "detection", "classification", "clinical", "calibration", "both", "custom")


@dataclass(frozen=True)
class Kind:
    """A kind of scans, and the ``needs`` of a measure of these scans.

    Attributes:
        name: Name for readers, such as ``scans with a lesion``.
        rows: Function that returns which scans of a table are of this kind.
    """

    name: str
    rows: Callable[[Cases], Rows]

    def __call__(self, cases: Cases) -> dict[str, Rows]:
        """Return the scans of this kind, by its name."""
        return {self.name: self.rows(cases)}


WITH_LESION = Kind("scans with a lesion", lambda cases: cases.lesion)
WITHOUT_LESION = Kind("scans without a lesion", lambda cases: cases.clear)
KNOWN_MASK = Kind("scans whose true mask is known", lambda cases: cases.has_mask)
KNOWN_CLASS = Kind("scans of known and predicted class", lambda cases: cases.has_class)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a report, as data.

    Attributes:
        name: Short and stable name, for tables and JSON: ``dice``, ``dice/malignant``.
        title: Readable name.
        definition: Definition in one sentence.
        section: One of ``SECTIONS``.
        unit: ``fraction`` (0 to 1), ``px``, ``mm``, ``mm2``, ``count``, ``score`` (another range).
        higher_is_better: Whether higher values are better; None where neither direction is.
        signed: Whether values may be negative, as differences in millimetres are; those of a ``score`` may be.
        limits: Lowest and highest possible value, where they don't follow from the unit: -1 and 1 for a kappa.
        needs: Function that returns the kinds of scans that the measure needs, by name; undefined where one kind has none.
        values: Function that returns the value for each draw of weights, NaN where it is undefined.
    """

    name: str
    title: str
    definition: str
    section: str
    unit: str
    higher_is_better: bool | None
    needs: Callable[[Cases], Mapping[str, Rows]]
    values: Callable[[Cases, Weights], Values]
    signed: bool = False
    limits: tuple[float, float] | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest possible value."""
        if self.limits is not None:
            return self.limits
        return (-np.inf, np.inf) if self.signed or self.unit == "score" else (0.0, 1.0 if self.unit == "fraction" else np.inf)

    @property
    def difference_bounds(self) -> tuple[float, float]:
        """Lowest and highest possible difference of two values."""
        low, high = self.bounds
        return low - high, high - low


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval.

    Attributes:
        value: Value of the measure, None where it is undefined.
        low: Lower end, None where there is no interval.
        high: Upper end, None where there is no interval.
        se: Standard error: the standard deviation of the draws, None where there is no interval.
        n: Number of scans that enter the measure.
        groups: Number of groups of these scans.
        note: Reason for a missing value or interval, or a caveat; empty otherwise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    n: int = 0
    groups: int = 0
    note: str = ""


def mean_of(column: Callable[[Cases], NDArray[np.float64]], kind: Kind) -> Callable[[Cases, Weights], Values]:
    """Return a measure's ``values`` function: the mean of a column over the scans of one kind."""

    def values(cases: Cases, weights: Weights) -> Values:
        rows = kind.rows(cases)
        return mean(column(cases)[rows], weights[:, rows])

    return values


def median_of(column: Callable[[Cases], NDArray[np.float64]], kind: Kind) -> Callable[[Cases, Weights], Values]:
    """Return a measure's ``values`` function: the median of a column over the scans of one kind."""

    def values(cases: Cases, weights: Weights) -> Values:
        rows = kind.rows(cases)
        return quantile(column(cases)[rows], weights[:, rows], 0.5)

    return values


NONE = "\u2013"  # en dash
DIGITS = {"fraction": 3, "score": 3, "count": 2, "px": 1, "mm": 2, "mm2": 1}
UNITS = {"px": " px", "mm": " mm", "mm2": " mm²"}


def number(value: float, unit: str) -> str:
    """Return a value as text, with the number of digits of its unit; a value that rounds to 0 has no sign.

    Examples:
        >>> number(-0.0001, "fraction")
        '0.000'
    """
    digits = DIGITS[unit]
    return f"{round(value, digits) + 0.0:.{digits}f}"


def with_unit(value: float, unit: str) -> str:
    """Return a value as text, with its unit."""
    return f"{number(value, unit)}{UNITS.get(unit, '')}"


def p_value(p: float) -> str:
    """Return a p-value as text, with three digits.

    Examples:
        >>> p_value(0.0421), p_value(2e-7)
        ('p = 0.042', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def interval(estimate: Estimate, unit: str, form: Callable[[float, str], str] = number) -> str:
    """Return the interval in brackets, or an empty text where there is none; ``form`` converts its ends to text."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({form(estimate.low, unit)} to {form(estimate.high, unit)})"


def shown(estimate: Estimate, unit: str) -> str:
    """Return value and interval as text, or a dash where there is no value."""
    return NONE if estimate.value is None else f"{with_unit(estimate.value, unit)}{interval(estimate, unit)}"


def signed(value: float, unit: str) -> str:
    """Return a difference as text, with its sign; one that rounds to 0 has none."""
    text = number(value, unit)
    return f"+{text}" if float(text) > 0 else text


def signed_with_unit(value: float, unit: str) -> str:
    """Return a difference as text, with its sign and unit."""
    return f"{signed(value, unit)}{UNITS.get(unit, '')}"


def shown_difference(estimate: Estimate, unit: str) -> str:
    """Return a difference and its interval as text, with signs and unit, or a dash where there is no value."""
    return NONE if estimate.value is None else f"{signed_with_unit(estimate.value, unit)}{interval(estimate, unit, signed)}"
