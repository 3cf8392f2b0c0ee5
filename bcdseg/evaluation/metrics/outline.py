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
    """The overlap of two masks, each value from 0 to 1.

    Attributes:
        dice: Twice the intersection over the sum of both areas.
        iou: Intersection over union.
        precision: Fraction of the predicted mask that is lesion.
        recall: Fraction of the lesion that is in the predicted mask.
    """

    dice: float
    iou: float
    precision: float
    recall: float


def dice(predicted: Mask, truth: Mask) -> float:
    """Return the Dice coefficient: twice the intersection over the sum of both areas.

    Empty masks: 1 when both are empty; 0 when one is, which is a missed or a false lesion.
    """
    return overlap(predicted, truth).dice


def overlap(predicted: Mask, truth: Mask) -> Overlap:
    """Return Dice, IoU, precision and recall of the pixels.

    Empty masks: all are 1 when both masks are empty. All are 0 when one is, which is a missed or a false lesion; also the precision
    of a missed and the recall of a false lesion, which are 0 / 0, so that such a scan counts, and counts as wrong.
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
    """The agreement of one predicted mask with the true mask; each value has its metric's rule for empty masks.

    Attributes:
        truth_area: Lesion's fraction of the image, 0 for a scan without one.
        dice: Dice coefficient, see ``overlap``.
        iou: Intersection over union, see ``overlap``.
        precision: Fraction of the predicted mask that is lesion, see ``overlap``.
        recall: Fraction of the lesion that is in the predicted mask, see ``overlap``.
        hd95_px: 95 % Hausdorff distance in pixels, see ``surface.surface``.
        assd_px: Average symmetric surface distance in pixels.
        boundary_f1: Boundary F1 with a tolerance of 0.75 % of the image's diagonal.
        hd95_share: ``hd95_px`` as a fraction of the image's diagonal, so that scans of different sizes can be combined.
        hd95_mm: 95 % Hausdorff distance in millimetres, None where the pixel size is unknown.
        assd_mm: Average symmetric surface distance in millimetres, None where the pixel size is unknown.
        lesions_true: Number of true lesions, see ``detection.detect``.
        lesions_found: Number of lesions with a matching predicted region.
        lesions_false: Number of predicted regions that match no lesion.
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
    """Measure one predicted mask.

    Args:
        predicted: Predicted mask.
        truth: True mask.
        spacing: Millimetres per pixel, vertical and horizontal, where known.
        name: Name of the scan, for the error message when the masks' sizes differ.
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
