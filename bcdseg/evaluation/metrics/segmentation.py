"""Measures of an outline against the truth: pure functions over arrays, each with its rule for empty masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bcdseg.types import Mask


class Overlap(NamedTuple):
    """How much of two masks is shared, each from 0 to 1.

    Attributes:
        dice: Twice the shared area over the sum of both areas.
        iou: The shared area over the area of either.
        precision: The share of what was outlined that is lesion.
        recall: The share of the lesion that was outlined.
    """

    dice: float
    iou: float
    precision: float
    recall: float


def dice(predicted: Mask, truth: Mask) -> float:
    """Twice the shared area over the sum of both areas.

    Empty masks: both empty agree, 1. One empty is a missed or an invented lesion, 0.
    """
    return overlap(predicted, truth).dice


def overlap(predicted: Mask, truth: Mask) -> Overlap:
    """Dice, IoU, precision and recall of the pixels.

    Empty masks: both empty agree, all 1. One empty is a missed or an invented lesion, all 0; the precision of a missed and the
    recall of an invented one, which divide 0 by 0, too: such a scan counts, and counts as wrong.
    """
    outlined, lesion = int(np.count_nonzero(predicted)), int(np.count_nonzero(truth))
    if not outlined and not lesion:
        return Overlap(1.0, 1.0, 1.0, 1.0)
    shared = int(np.count_nonzero(predicted & truth))
    if not shared:
        return Overlap(0.0, 0.0, 0.0, 0.0)
    return Overlap(2 * shared / (outlined + lesion), shared / (outlined + lesion - shared), shared / outlined, shared / lesion)
