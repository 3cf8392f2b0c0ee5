"""Figures as text."""

from __future__ import annotations

from bcdseg.evaluation.measures.measure import Estimate

NONE = "\u2013"  # a dash
DIGITS = {"share": 3, "score": 3, "count": 2, "px": 1, "mm": 2}
UNITS = {"px": " px", "mm": " mm"}


def shown(estimate: Estimate, unit: str) -> str:
    """Value and interval, or a dash where there is no value."""
    if estimate.value is None:
        return NONE
    return f"{number(estimate.value, unit)}{UNITS.get(unit, '')}{interval(estimate, unit)}"


def interval(estimate: Estimate, unit: str) -> str:
    """The interval in brackets; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({number(estimate.low, unit)} to {number(estimate.high, unit)})"


def number(value: float, unit: str) -> str:
    """As many digits as the unit deserves."""
    return f"{value:.{DIGITS[unit]}f}"
