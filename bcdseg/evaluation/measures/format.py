"""Values, intervals and differences as text, with the digits and the unit of their measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bcdseg.evaluation.measures.measure import Estimate

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


def interval(estimate: Estimate, unit: str) -> str:
    """Return the interval in brackets, or an empty text where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({number(estimate.low, unit)} to {number(estimate.high, unit)})"


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


def signed_interval(estimate: Estimate, unit: str) -> str:
    """Return the interval of a difference in brackets, with signs, or an empty text where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({signed(estimate.low, unit)} to {signed(estimate.high, unit)})"


def shown_difference(estimate: Estimate, unit: str) -> str:
    """Return a difference and its interval as text, with signs and unit, or a dash where there is no value."""
    if estimate.value is None:
        return NONE
    return f"{signed_with_unit(estimate.value, unit)}{signed_interval(estimate, unit)}"
