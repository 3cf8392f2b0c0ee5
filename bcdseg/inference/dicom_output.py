"""Predictions as DICOM segmentations and reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.dicom.algorithm import Algorithm
from bcdseg.dicom.deidentify import RANDOM, ObjectUids, choose_identity, read_reference
from bcdseg.dicom.report import FrameFindings, MeasuredLesion, encode_report
from bcdseg.dicom.segmentation import Segment, candidate_label, encode_segmentation
from bcdseg.errors import OptionError
from bcdseg.files import write_whole
from bcdseg.inference.clips import clip_file
from bcdseg.inference.lesions import Lesion, find_components

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.types import Mask, Spacing

Finding = tuple[str, MeasuredLesion]
"""A lesion and its identifier in a report."""

KINDS = ("binary", "probability", "lesions")
MOST_BYTES = 2**31


def save_dicom_seg(
    predictions: Prediction | Iterable[Prediction],
    path: str | Path,
    *,
    source: Any = None,
    kind: str = "binary",
    identity: str | None = None,
    keep_identifiers: bool | None = None,
    overwrite: bool = False,
) -> Path:
    """Write outlines as a DICOM segmentation that refers to the frames of its source.

    Candidates, outlines below the presence threshold, are segments of their own. Their labels begin with ``candidate``. The
    probability of each pixel is one segment, which has that label where there are only candidates.
    The file has the pixel spacing of the prediction. Where it is unknown, or differs between the frames of a clip, the file has a
    nominal spacing of 1 mm, without which viewers don't open it, and its content description reports this.

    Args:
        predictions: Prediction for one image, or predictions for frames of one clip.
        path: File to write.
        source: DICOM file, bytes or ``Dataset`` that was predicted; by default the path in the prediction.
        kind: ``"binary"`` for the mask, ``"probability"`` for the probability of each pixel, ``"lesions"`` for the mask
            of one image with one segment per lesion and candidate, in the order of ``prediction.lesions`` and ``candidates``.
        identity: ``"pacs"`` writes patient, study and UIDs of the source, so that a PACS files the object in the same study.
            ``"shared"`` replaces them, always by the same values, so that the object refers to a source that was de-identified
            in the same way. By default the identity for which the scan was predicted: ``model.predict(..., identity=...)``.
        keep_identifiers: Deprecated: True is ``identity="pacs"``, False is ``identity="shared"``.
        overwrite: Whether an existing file may be replaced.
    """
    if kind not in KINDS:
        raise OptionError(f"kind={kind!r} is unknown: choose one of {', '.join(KINDS)}.")
    outlines: list[_Outlines] = []
    facts: set[tuple[str, str, str]] = set()
    for prediction in _each(predictions):
        if kind == "lesions" and prediction.frame is not None:
            raise OptionError(f"{prediction.source}: kind='lesions' is for one image, not for a clip, whose lesions move.")
        outlines.append(_outlines(prediction, kind))
        facts.add((clip_file(prediction), prediction.model, prediction.identity))
        if sum(one.nbytes for one in outlines) > MOST_BYTES:
            raise OptionError(f"{path}: {len(outlines)} frames are too many for one file. Write fewer: frames=10 takes each tenth.")
    file, model, predicted_for = _one(facts, path)
    last = _last_frame([one.frame for one in outlines], path)
    chosen = choose_identity(identity, keep_identifiers, predicted_for)
    reference = _reference(file if source is None else source, outlines[0].map.shape, chosen, last)
    content = _encoded(outlines, reference, kind=kind, algorithm=Algorithm(model), name=file)
    return write_whole(Path(path), content, overwrite=overwrite)


def encode_dicom_seg(
    predictions: Prediction | Sequence[Prediction],
    reference: Any,
    *,
    kind: str = "binary",
    name: str,
    weights: str = "",
    uids: ObjectUids = RANDOM,
) -> bytes:
    """Encode outlines as ``save_dicom_seg`` does, as the bytes of a DICOM file.

    Args:
        predictions: Prediction for one image or frame, or predictions for frames of one clip, of a model with a mask.
        reference: Reference that ``read_reference`` returned.
        kind: ``"binary"``, ``"probability"`` or ``"lesions"``.
        name: Name of the source in errors.
        weights: Hash of the model's weights; empty if unknown.
        uids: UIDs of the segmentation.
    """
    each = list(_each(predictions))
    algorithm = Algorithm(each[0].model, weights)
    return _encoded([_outlines(one, kind) for one in each], reference, kind=kind, algorithm=algorithm, name=name, uids=uids)


def segmentation_kind(predictions: Sequence[Prediction]) -> str:
    """Return ``"lesions"`` for an image whose lesions can be separated, so that each is a segment of its own, else ``"binary"``."""
    one = predictions[0]
    masks = [(one.mask, one.lesions), (one.candidate_mask, one.candidates)]
    apart = all(mask is None or len(find_components(mask)[0]) == len(lesions) for mask, lesions in masks)
    return "lesions" if one.frame is None and apart else "binary"


def encode_dicom_sr(
    predictions: Prediction | Sequence[Prediction], reference: Any, *, name: str, weights: str = "", uids: ObjectUids = RANDOM
) -> bytes:
    """Encode measurements as ``save_dicom_sr`` does, as the bytes of a DICOM file; see ``encode_dicom_seg``."""
    each = list(_each(predictions))
    algorithm = Algorithm(each[0].model, weights)
    return encode_report(reference, [_findings(one) for one in each], algorithm=algorithm, name=name, uids=uids)


def save_dicom_sr(
    predictions: Prediction | Iterable[Prediction],
    path: str | Path,
    *,
    source: Any = None,
    identity: str | None = None,
    keep_identifiers: bool | None = None,
    overwrite: bool = False,
) -> Path:
    """Write measurements as a DICOM structured report (TID 1500): axes, area, class, probabilities and suggested descriptors.

    A candidate, an outline below the presence threshold, is measured like a lesion. It is named ``candidate``, and an evaluation of
    its group gives the reason.

    Args:
        predictions: Prediction for one image, or predictions for frames of one clip.
        path: File to write.
        source: As in ``save_dicom_seg``.
        identity: As in ``save_dicom_seg``.
        keep_identifiers: As in ``save_dicom_seg``.
        overwrite: Whether an existing file may be replaced.
    """
    findings: list[FrameFindings] = []
    facts: set[tuple[str, str, str, tuple[int, int]]] = set()
    for prediction in _each(predictions):
        findings.append(_findings(prediction))
        facts.add((clip_file(prediction), prediction.model, prediction.identity, prediction.size))
    file, model, predicted_for, size = _one(facts, path)
    last = _last_frame([one.frame for one in findings], path)
    chosen = choose_identity(identity, keep_identifiers, predicted_for)
    reference = _reference(file if source is None else source, size, chosen, last)
    return write_whole(Path(path), encode_report(reference, findings, algorithm=Algorithm(model), name=file), overwrite=overwrite)


def _each(predictions: Prediction | Iterable[Prediction]) -> Iterable[Prediction]:
    return predictions if isinstance(predictions, Iterable) else [predictions]


def _one(facts: set[Any], path: str | Path) -> Any:
    if len(facts) != 1:
        raise OptionError(
            f"{path}: {len(facts)} different sources, models, sizes or identities. Give predictions of one image or of one clip."
        )
    return facts.pop()


def _last_frame(frames: Sequence[int | None], path: str | Path) -> int:
    """Return the number of the last frame, 1 for an image, after a check that no frame is repeated."""
    if len(set(frames)) < len(frames):
        raise OptionError(f"{path}: has several predictions for one image or frame. Give one for each.")
    return max(frame or 1 for frame in frames)


def _reference(source: Any, size: tuple[int, ...], identity: str, last_frame: int) -> Any:
    reference = read_reference(source, identity=identity, last_frame=last_frame)
    if (reference.Rows, reference.Columns) != tuple(size):
        raise OptionError(
            f"source is {reference.Rows}x{reference.Columns} pixels and the prediction {size[0]}x{size[1]}: give its own file."
        )
    return reference


class _Outlines(NamedTuple):
    """The parts of a prediction that a segmentation contains: a map, the mask of candidates, and the text of their warning."""

    frame: int | None
    spacing: Spacing | None
    map: NDArray[Any]
    lesions: Sequence[Lesion]
    candidate_mask: Mask | None
    candidates: Sequence[Lesion]
    warning: str

    @property
    def nbytes(self) -> int:
        return self.map.nbytes + (0 if self.candidate_mask is None else self.candidate_mask.nbytes)


def _outlines(prediction: Prediction, kind: str) -> _Outlines:
    one = prediction.mask_probability if kind == "probability" else prediction.mask
    if one is None:
        raise OptionError(f"{prediction.source}: has no mask, its model only classifies. A report can be written: save_dicom_sr.")
    return _Outlines(
        frame=prediction.frame,
        spacing=prediction.spacing,
        map=one,
        lesions=prediction.lesions,
        candidate_mask=None if kind == "probability" else prediction.candidate_mask,
        candidates=prediction.candidates,
        warning=" ".join(flag.message for flag in prediction.flags if flag.code == "candidate"),
    )


def _encoded(
    outlines: Sequence[_Outlines], reference: Any, *, kind: str, algorithm: Algorithm, name: str, uids: ObjectUids = RANDOM
) -> bytes:
    scales = {one.spacing for one in outlines}
    return encode_segmentation(
        reference,
        [one.frame for one in outlines],
        _each_segment(outlines[0]) if kind == "lesions" else _segments(outlines),
        spacing=scales.pop() if len(scales) == 1 else None,
        algorithm=algorithm,
        name=name,
        uids=uids,
    )


def _segments(outlines: Sequence[_Outlines]) -> list[Segment]:
    """Return a segment of all lesions, and one of all candidates if there are any."""
    maps = np.stack([one.map for one in outlines])
    warning = outlines[0].warning if len(outlines) == 1 else ""
    masks = [one.candidate_mask for one in outlines]
    image = outlines[0] if len(outlines) == 1 and outlines[0].frame is None and maps.dtype == bool else None
    lesions = Segment(label="lesion", maps=maps, finding=image and _only("lesion", image.lesions))
    if all(mask is None for mask in masks):
        if maps.dtype != bool and _only_candidates(outlines):
            return [Segment(label=candidate_label(), maps=maps, description=warning)]
        return [lesions]
    none = np.zeros(outlines[0].map.shape, bool)
    candidate_maps = np.stack([none if mask is None else mask for mask in masks])
    only = image and _only("candidate", image.candidates)
    candidates = Segment(label=candidate_label(), maps=candidate_maps, description=warning, finding=only)
    return [lesions, candidates]


def _only(name: str, lesions: Sequence[Lesion]) -> Finding | None:
    """Return the only lesion of an image, which a report tracks too; None for several, or for none."""
    return _finding(name, 1, lesions[0]) if len(lesions) == 1 else None


def _finding(name: str, number: int, lesion: Lesion) -> Finding:
    return f"{name} {number}", _measured(lesion)


def _only_candidates(outlines: Sequence[_Outlines]) -> bool:
    """Return whether there are candidates and no lesions, so that a map of probabilities is that of candidates."""
    return any(one.candidates for one in outlines) and not any(one.lesions for one in outlines)


def _each_segment(one: _Outlines) -> list[Segment]:
    """Return one segment per lesion and per candidate; an empty one where there is neither."""
    lesions = [
        Segment(label=f"lesion {number}", maps=mask[None], finding=_finding("lesion", number, lesion))
        for number, mask, lesion in _apart(one.map, one.lesions)
    ]
    if one.candidate_mask is None:
        return lesions or _segments([one])
    return lesions + [
        Segment(
            label=candidate_label(number),
            maps=mask[None],
            description=one.warning,
            finding=_finding("candidate", number, candidate),
        )
        for number, mask, candidate in _apart(one.candidate_mask, one.candidates)
    ]


def _apart(mask: Mask, lesions: Sequence[Lesion]) -> Iterator[tuple[int, Mask, Lesion]]:
    """Yield the number, the mask and the measurements of each lesion."""
    by_box = {component.box: component for component in find_components(mask)[0]}  # no two connected regions have the same box
    if sorted(by_box) != sorted(lesion.box for lesion in lesions):
        raise OptionError("kind='lesions': two lesions of different scan areas touch and can't be separated. Take kind='binary'.")
    for number, lesion in enumerate(lesions, 1):
        own = np.zeros_like(mask)
        by_box[lesion.box].paint(own)
        yield number, own, lesion


def _findings(prediction: Prediction) -> FrameFindings:
    return FrameFindings(
        frame=prediction.frame,
        label=prediction.label,
        probabilities=prediction.probabilities,
        lesions=[_measured(lesion) for lesion in prediction.lesions],
        candidates=[_measured(candidate) for candidate in prediction.candidates],
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
        descriptors=_known(asdict(lesion.descriptors)),
        appearance={} if lesion.appearance is None else _known(asdict(lesion.appearance)),
    )


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
