"""Measures of an outline against the truth: pure functions over arrays, each with its rule for empty masks."""

from __future__ import annotations

from bcdseg.types import Mask


def dice(predicted: Mask, truth: Mask) -> float:
    """Twice the shared area over the sum of both areas.

    Empty masks: both empty agree, 1. One empty is a missed or an invented lesion, 0.
    """
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0
