"""Segmentation metrics of one scan, the size of its lesion, and the agreement of two measurements of sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from bcdseg.errors import InputError
from bcdseg.evaluation.metrics.detection import detect
from bcdseg.evaluation.metrics.surface import diagonal, surface
from bcdseg.evaluation.metrics.weighted import Values, Weights, divide, mean, once
from bcdseg.types import Mask, Spacing

TOLERANCE_MM = 1.0  # of the normalised surface Dice


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


def overlap(y_true: Mask, y_pred: Mask) -> Overlap:
    """Return Dice, IoU, precision and recall of the pixels.

    Empty masks: all are 1 when both masks are empty. All are 0 when one is, which is a missed or a false lesion; also the precision
    of a missed and the recall of a false lesion, which are 0 / 0, so that such a scan counts, and counts as wrong.
    """
    predicted, lesion = int(np.count_nonzero(y_pred)), int(np.count_nonzero(y_true))
    if not predicted and not lesion:
        return Overlap(1.0, 1.0, 1.0, 1.0)
    shared = int(np.count_nonzero(y_true & y_pred))
    if not shared:
        return Overlap(0.0, 0.0, 0.0, 0.0)
    return Overlap(2 * shared / (predicted + lesion), shared / (predicted + lesion - shared), shared / predicted, shared / lesion)


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
        surface_dice: Normalised surface Dice at a tolerance in millimetres, None where the pixel size is unknown.
        true_long_axis_px: Long axis of the largest lesion, see ``size.lesion_size``; None without one.
        predicted_long_axis_px: Long axis of the largest predicted region; None without one.
        true_long_axis_mm: Long axis of the largest lesion in millimetres.
        predicted_long_axis_mm: Long axis of the largest predicted region in millimetres.
        true_area_mm2: Area of the largest lesion in square millimetres.
        predicted_area_mm2: Area of the largest predicted region in square millimetres.
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
    surface_dice: float | None = None
    true_long_axis_px: float | None = None
    predicted_long_axis_px: float | None = None
    true_long_axis_mm: float | None = None
    predicted_long_axis_mm: float | None = None
    true_area_mm2: float | None = None
    predicted_area_mm2: float | None = None


def score_mask(
    y_true: Mask, y_pred: Mask, *, spacing: Spacing | None = None, tolerance_mm: float = TOLERANCE_MM, name: str = "this scan"
) -> Outline:
    """Measure one predicted mask.

    Args:
        y_true: True mask.
        y_pred: Predicted mask.
        spacing: Millimetres per pixel, vertical and horizontal, where known.
        tolerance_mm: Tolerance of the normalised surface Dice.
        name: Name of the scan, for the error message when the masks' sizes differ.
    """
    if y_pred.shape != y_true.shape or y_pred.ndim != 2:
        raise InputError(
            f"{name}: the predicted mask has {_shape(y_pred)} pixels and the true mask {_shape(y_true)}. "
            "Resize the prediction to the size of the scan that the true mask belongs to."
        )
    y_true, y_pred = y_true.astype(bool, copy=False), y_pred.astype(bool, copy=False)
    areas, pixels, found = overlap(y_true, y_pred), surface(y_true, y_pred), detect(y_true, y_pred)
    millimetres = None if spacing is None else surface(y_true, y_pred, spacing=spacing, tolerance=tolerance_mm)
    return Outline(
        truth_area=float(y_true.mean()),
        dice=areas.dice,
        iou=areas.iou,
        precision=areas.precision,
        recall=areas.recall,
        hd95_px=pixels.hd95,
        assd_px=pixels.assd,
        boundary_f1=pixels.boundary_f1,
        hd95_share=pixels.hd95 / diagonal(y_true.shape),
        hd95_mm=None if millimetres is None else millimetres.hd95,
        assd_mm=None if millimetres is None else millimetres.assd,
        lesions_true=found.lesions,
        lesions_found=found.found,
        lesions_false=found.false,
        surface_dice=None if millimetres is None else millimetres.surface_dice,
        **_sizes("true", y_true, spacing),
        **_sizes("predicted", y_pred, spacing),
    )


def _sizes(kind: str, mask: Mask, spacing: Spacing | None) -> dict[str, float | None]:
    pixels = lesion_size(mask)
    millimetres = None if spacing is None else lesion_size(mask, spacing=spacing)
    return {
        f"{kind}_long_axis_px": None if pixels is None else pixels.long_axis,
        f"{kind}_long_axis_mm": None if millimetres is None else millimetres.long_axis,
        f"{kind}_area_mm2": None if millimetres is None else millimetres.area,
    }


def _shape(mask: Mask) -> str:
    return " x ".join(map(str, mask.shape))


LIMIT = 1.96  # standard deviations between the bias and a limit of agreement


class Size(NamedTuple):
    """The size of a lesion, in pixels or millimetres.

    Attributes:
        long_axis: Long axis of the ellipse with the lesion's second moments.
        area: Area.
    """

    long_axis: float
    area: float


class Agreement(NamedTuple):
    """The agreement of two measurements after Bland and Altman, one value per draw.

    Attributes:
        bias: Mean difference, predicted minus true.
        low: Lower limit of agreement.
        high: Upper limit of agreement.
    """

    bias: Values
    low: Values
    high: Values


def lesion_size(mask: Mask, *, spacing: Spacing | None = None) -> Size | None:
    """Return long axis and area of the largest region of a mask, measured as in ``Prediction.lesions``.

    The long axis is 4 times the square root of the largest eigenvalue of the covariance of the region's pixels: 0 for one pixel.

    Empty masks: None, since there is nothing to measure.

    Args:
        mask: Mask of a scan.
        spacing: Millimetres per pixel, vertical and horizontal; without it, the size is in pixels.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    regions = regionprops(label(window, connectivity=2), spacing=spacing or (1.0, 1.0))
    largest = max(regions, key=lambda region: region.num_pixels)
    return Size(float(largest.axis_major_length), float(largest.area))


def bland_altman(y_true: NDArray[np.float64], y_pred: NDArray[np.float64], weights: Weights | None = None) -> Agreement:
    """Return bias and 95 % limits of agreement of predicted and true sizes.

    With the differences d = y_pred - y_true: bias = mean(d), limits = bias -/+ 1.96 SD(d), where SD has n - 1 in its divisor.

    Empty masks: a missed lesion has no predicted size, and a false lesion no true one. Leave such scans out; the measures of lesion
    detection count them. With fewer than two scans the limits are NaN.

    Reference: Bland and Altman, "Statistical methods for assessing agreement between two methods of clinical measurement",
    Lancet 1986.

    Examples:
        >>> found = bland_altman(np.array([10.0, 20.0, 30.0]), np.array([11.0, 20.0, 32.0]))
        >>> [round(float(value[0]), 2) for value in found]
        [1.0, -0.96, 2.96]
    """
    counts = once(len(y_true)) if weights is None else weights
    difference = y_pred - y_true
    bias = mean(difference, counts)
    squares = counts @ difference**2 - counts.sum(axis=1) * np.nan_to_num(bias) ** 2
    spread = np.sqrt(np.maximum(divide(squares, counts.sum(axis=1) - 1), 0))
    return Agreement(bias, bias - LIMIT * spread, bias + LIMIT * spread)
