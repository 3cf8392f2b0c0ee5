"""Segmentation metrics of one scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bcdseg.errors import InputError
from bcdseg.evaluation.metrics.detection import detect
from bcdseg.evaluation.metrics.surface import diagonal, surface
from bcdseg.types import Mask, Spacing


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


@dataclass(frozen=True, kw_only=True)
class Outline:
    """How one outline agrees with the truth; the rules for empty masks are those of the measures.

    Attributes:
        truth_area: The lesion's share of the image, 0 for a scan without one.
        dice: See ``segmentation.overlap``, as the next three.
        iou: Shared area over the area of either.
        precision: Share of what was outlined that is lesion.
        recall: Share of the lesion that was outlined.
        hd95_px: See ``surface.surface``, as the next five; in pixels.
        assd_px: Average symmetric surface distance in pixels.
        boundary_f1: With a tolerance of 0.75 % of the image's diagonal.
        hd95_share: ``hd95_px`` as a share of the image's diagonal, so that scans of different sizes can be taken together.
        hd95_mm: In millimetres, None where the pixel size is unknown.
        assd_mm: In millimetres, or None.
        lesions_true: See ``detection.detect``, as the next two.
        lesions_found: Lesions that an outlined region was matched to.
        lesions_false: Outlined regions that match no lesion.
    """

    truth_area: float
    dice: float
    iou: float
    precision: float
    recall: float
    hd95_px: float
    assd_px: float
    boundary_f1: float
    hd95_share: float
    hd95_mm: float | None
    assd_mm: float | None
    lesions_true: int
    lesions_found: int
    lesions_false: int


def score_mask(predicted: Mask, truth: Mask, *, spacing: Spacing | None = None, name: str = "this scan") -> Outline:
    """Measure one outline.

    Args:
        predicted: The mask to judge.
        truth: The true mask.
        spacing: Millimetres per pixel, down and across, where known.
        name: Of the scan, for the message when the masks' sizes differ.
    """
    if predicted.shape != truth.shape or predicted.ndim != 2:
        raise InputError(
            f"{name}: the predicted mask is {_shape(predicted)} and the true one {_shape(truth)} pixels. "
            "Bring the prediction back to the size of the scan that the truth was drawn on."
        )
    predicted, truth = predicted.astype(bool, copy=False), truth.astype(bool, copy=False)
    shared, pixels, found = overlap(predicted, truth), surface(predicted, truth), detect(predicted, truth)
    millimetres = None if spacing is None else surface(predicted, truth, spacing=spacing)
    return Outline(
        truth_area=float(truth.mean()),
        dice=shared.dice,
        iou=shared.iou,
        precision=shared.precision,
        recall=shared.recall,
        hd95_px=pixels.hd95,
        assd_px=pixels.assd,
        boundary_f1=pixels.boundary_f1,
        hd95_share=pixels.hd95 / diagonal(truth.shape),
        hd95_mm=None if millimetres is None else millimetres.hd95,
        assd_mm=None if millimetres is None else millimetres.assd,
        lesions_true=found.lesions,
        lesions_found=found.found,
        lesions_false=found.false,
    )


def _shape(mask: Mask) -> str:
    return " x ".join(map(str, mask.shape))
