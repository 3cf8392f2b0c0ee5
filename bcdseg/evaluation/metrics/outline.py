"""All measures of one scan's outline against the truth."""

from __future__ import annotations

from dataclasses import dataclass

from bcdseg.errors import InputError
from bcdseg.evaluation.metrics.detection import detect
from bcdseg.evaluation.metrics.segmentation import overlap
from bcdseg.evaluation.metrics.surface import diagonal, surface
from bcdseg.types import Mask, Spacing


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


def judge(predicted: Mask, truth: Mask, *, spacing: Spacing | None = None, name: str = "this scan") -> Outline:
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
