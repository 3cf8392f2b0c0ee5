"""Predictions as DICOM segmentations and reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from bcdseg.dicom.deidentify import read_reference
from bcdseg.dicom.report import Algorithm, FrameFindings, MeasuredLesion, encode_report
from bcdseg.dicom.segmentation import encode_each_lesion, encode_segmentation
from bcdseg.errors import OptionError
from bcdseg.files import write_whole
from bcdseg.inference.clips import clip_file
from bcdseg.inference.lesions import EVERY_NEIGHBOUR, Lesion

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.types import Mask, Spacing

KINDS = ("binary", "probability", "lesions")
MOST_BYTES = 2**31


def save_dicom_seg(
    predictions: Prediction | Iterable[Prediction],
    path: str | Path,
    *,
    source: Any = None,
    kind: str = "binary",
    keep_identifiers: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write outlines as a DICOM segmentation that refers to the frames of its source.

    The file has the pixel spacing of the prediction. A clip whose frames differ in spacing, for example because their ultrasound
    regions differ, is written without spacing.

    Args:
        predictions: Prediction for one image, or predictions for frames of one clip.
        path: File to write.
        source: DICOM file, bytes or ``Dataset`` that was predicted; by default the path in the prediction.
        kind: ``"binary"`` for the mask, ``"probability"`` for the probability of each pixel, ``"lesions"`` for the mask
            of one image with one segment per lesion, in the order of ``prediction.lesions``.
        keep_identifiers: Whether patient and UIDs are written as in the source. Otherwise they are replaced, always by the
            same values, so that the file refers to a source that was de-identified in the same way.
        overwrite: Whether an existing file may be replaced.
    """
    if kind not in KINDS:
        raise OptionError(f"kind={kind!r} is unknown: choose one of {', '.join(KINDS)}.")
    frames: list[int | None] = []
    maps: list[NDArray[Any]] = []
    facts: set[tuple[str, str]] = set()
    scales: set[Spacing | None] = set()
    lesions = 0
    for prediction in _each(predictions):
        one = prediction.mask_probability if kind == "probability" else prediction.mask
        if one is None:
            raise OptionError(
                f"{prediction.source}: has no mask, its model only classifies. A report can be written: save_dicom_sr."
            )
        if kind == "lesions" and prediction.frame is not None:
            raise OptionError(f"{prediction.source}: kind='lesions' is for one image, not for a clip, whose lesions move.")
        maps.append(one)
        frames.append(prediction.frame)
        facts.add((clip_file(prediction), prediction.model))
        scales.add(prediction.spacing)
        lesions += len(prediction.lesions)
        if sum(held.nbytes for held in maps) > MOST_BYTES:
            raise OptionError(f"{path}: {len(maps)} frames are too many for one file. Write fewer: frames=10 takes each tenth.")
    (file, model) = _one(facts, path)
    spacing = scales.pop() if len(scales) == 1 else None
    reference = _reference(file if source is None else source, maps[0].shape[:2], keep_identifiers)
    made = {"spacing": spacing, "algorithm": Algorithm(model), "name": file}
    if kind == "lesions" and lesions:
        content = encode_each_lesion(reference, _apart(maps[0], lesions), **made)
    else:
        content = encode_segmentation(reference, frames, np.stack(maps), **made)
    return write_whole(Path(path), content, overwrite=overwrite)


def save_dicom_sr(
    predictions: Prediction | Iterable[Prediction],
    path: str | Path,
    *,
    source: Any = None,
    keep_identifiers: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write measurements as a DICOM structured report (TID 1500): axes, area, class and probabilities.

    Args:
        predictions: Prediction for one image, or predictions for frames of one clip.
        path: File to write.
        source: As in ``save_dicom_seg``.
        keep_identifiers: As in ``save_dicom_seg``.
        overwrite: Whether an existing file may be replaced.
    """
    findings: list[FrameFindings] = []
    facts: set[tuple[str, str, tuple[int, int]]] = set()
    for prediction in _each(predictions):
        findings.append(_findings(prediction))
        facts.add((clip_file(prediction), prediction.model, prediction.size))
    (file, model, size) = _one(facts, path)
    reference = _reference(file if source is None else source, size, keep_identifiers)
    return write_whole(Path(path), encode_report(reference, findings, algorithm=Algorithm(model), name=file), overwrite=overwrite)


def _each(predictions: Prediction | Iterable[Prediction]) -> Iterable[Prediction]:
    return predictions if isinstance(predictions, Iterable) else [predictions]


def _one(facts: set[Any], path: str | Path) -> Any:
    if len(facts) != 1:
        raise OptionError(f"{path}: {len(facts)} different sources, models or sizes. Give predictions of one image or of one clip.")
    return facts.pop()


def _reference(source: Any, size: tuple[int, ...], keep_identifiers: bool) -> Any:
    reference = read_reference(source, keep_identifiers=keep_identifiers)
    if (reference.Rows, reference.Columns) != tuple(size):
        raise OptionError(
            f"source is {reference.Rows}x{reference.Columns} pixels and the prediction {size[0]}x{size[1]}: give the file it is of."
        )
    return reference


def _apart(mask: Mask, lesions: int) -> NDArray[np.bool_]:
    """Return one mask per lesion, the largest first, in the order of ``find_lesions``."""
    regions, count = label(mask, connectivity=EVERY_NEIGHBOUR, return_num=True)
    if count != lesions:
        raise OptionError("kind='lesions': two lesions of different scan areas touch and can't be told apart. Take kind='binary'.")
    areas = np.bincount(regions.ravel())[1:]
    return np.stack([regions == number for number in 1 + np.argsort(-areas, kind="stable")])


def _findings(prediction: Prediction) -> FrameFindings:
    return FrameFindings(
        frame=prediction.frame,
        label=prediction.label,
        probabilities=prediction.probabilities,
        lesions=[_measured(lesion) for lesion in prediction.lesions],
    )


def _measured(lesion: Lesion) -> MeasuredLesion:
    in_mm = lesion.long_axis_mm is not None and lesion.short_axis_mm is not None and lesion.area_mm2 is not None
    long, short, area = (
        (lesion.long_axis_mm, lesion.short_axis_mm, lesion.area_mm2)
        if in_mm
        else (lesion.long_axis_px, lesion.short_axis_px, float(lesion.area_px))
    )
    return MeasuredLesion(
        long_axis=long or 0.0,
        short_axis=short or 0.0,
        area=area or 0.0,
        in_mm=in_mm,
        probability=lesion.probability,
        long_axis_ends=lesion.long_axis_ends,
        short_axis_ends=lesion.short_axis_ends,
    )
