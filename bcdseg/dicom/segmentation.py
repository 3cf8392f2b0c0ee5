"""Encoding and reading of DICOM segmentations."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.dicom.algorithm import Algorithm, file_content
from bcdseg.dicom.deidentify import RANDOM, ObjectUids
from bcdseg.dicom.guard import UNFIT, guarded, pydicom
from bcdseg.dicom.header_limits import HeaderBudget, plain
from bcdseg.dicom.reader import PER_FRAME, SHARED
from bcdseg.dicom.report import MeasuredLesion, tracking_uid
from bcdseg.errors import ImageError
from bcdseg.sources import check_size, open_regular
from bcdseg.types import Mask, Spacing

WHOLE = 255  # stored value of a probability of 1
STACK = "1"
BELOW = "below the presence threshold"
NOMINAL = (1.0, 1.0)  # as readers of images assume where a scan has no scale, so that its outlines have the scan's size
NOMINAL_SCALE = "The scale is unknown: 1 mm per pixel is nominal"
UNKNOWN_SCALE = ", scale unknown"  # ends the names of segments, which viewers show next to their millimetres
LESION_COLOUR, CANDIDATE_COLOUR = (58401, 29471, 52288), (40007, 42800, 30170)  # CIELab: yellow and purple, as in overlays


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """A segment of a segmentation.

    Attributes:
        label: Name of the segment, at most 64 characters.
        maps: Frames x height x width: bool for a binary segmentation, float32 from 0 to 1 for one of probabilities.
        description: Sentence about the segment; empty for none.
        finding: The only lesion of the segment, and its identifier in a report; None where the segment has another content.
    """

    label: str
    maps: NDArray[Any]
    description: str = ""
    finding: tuple[str, MeasuredLesion] | None = None


def candidate_label(number: int | None = None) -> str:
    """Return the label of a segment of candidates, all of them or the one with a number."""
    return f"candidate, {BELOW}" if number is None else f"candidate {number}, {BELOW}"


def encode_segmentation(
    reference: Any,
    frames: Sequence[int | None],
    segments: Sequence[Segment],
    *,
    spacing: Spacing | None,
    algorithm: Algorithm,
    name: str,
    uids: ObjectUids = RANDOM,
) -> bytes:
    """Encode a segmentation as the bytes of a DICOM file.

    Args:
        reference: Reference that ``deidentify.read_reference`` returned.
        frames: Number of each map's frame in the source, or None for the only frame of a single image.
        segments: Segments with one map per frame.
        spacing: Millimetres per pixel; None if unknown, for which a nominal millimetre is written, and the segments' names say so.
        algorithm: Algorithm that made the maps.
        name: Name of the source in errors.
        uids: UIDs of the segmentation.
    """
    with guarded(name, UNFIT):
        made = _first_frame(reference, segments, spacing, algorithm, uids)
        _set_class(made, reference.SOPClassUID)
        made.PatientOrientation = ""
        if frames[0] is not None:
            _add_frames(made, [frame or 1 for frame in frames], segments)
        return file_content(made)


def _first_frame(
    reference: Any, segments: Sequence[Segment], spacing: Spacing | None, algorithm: Algorithm, uids: ObjectUids
) -> Any:
    """Create the segmentation of the first frame."""
    seg = pydicom("highdicom.seg")
    first = np.stack([segment.maps[0] for segment in segments], axis=-1)[None]
    return seg.Segmentation(
        source_images=[_as_still(reference, spacing or NOMINAL, uids)],
        pixel_array=first.astype(np.uint8) if first.dtype == np.bool_ else first,
        segmentation_type="BINARY" if first.dtype == np.bool_ else "FRACTIONAL",
        max_fractional_value=WHOLE,
        segment_descriptions=[
            _described(number, segment, "" if spacing else UNKNOWN_SCALE, algorithm, _tracking(reference, segment, algorithm, uids))
            for number, segment in enumerate(segments, 1)
        ],
        series_instance_uid=uids("series"),
        series_number=9001,
        sop_instance_uid=uids("instance"),
        instance_number=1,
        series_description=f"Outlines by {algorithm.name}"[:64],
        content_label="LESIONS",
        content_description=NOMINAL_SCALE if spacing is None else None,
        omit_empty_frames=False,
        **algorithm.equipment,
    )


def _tracking(reference: Any, segment: Segment, algorithm: Algorithm, uids: ObjectUids) -> tuple[str, str]:
    """Return the tracking identifier and UID of a segment: those of its only lesion in a report, or its own."""
    if segment.finding is None:
        return segment.label, uids(segment.label)
    identifier, lesion = segment.finding
    return identifier, tracking_uid(reference, algorithm, identifier, lesion)


def _described(number: int, segment: Segment, ending: str, algorithm: Algorithm, tracking: tuple[str, str]) -> Any:
    highdicom, seg, codes = pydicom("highdicom"), pydicom("highdicom.seg"), pydicom("pydicom.sr.codedict").codes
    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name, family=codes.DCM.ArtificialIntelligence, version=algorithm.version
    )
    described = seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label + ending,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Mass,
        algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=identification,
        tracking_id=tracking[0],
        tracking_uid=tracking[1],
        anatomic_regions=[codes.SCT.Breast],
    )
    described.RecommendedDisplayCIELabValue = list(CANDIDATE_COLOUR if segment.label.endswith(BELOW) else LESION_COLOUR)
    if segment.description:
        described.SegmentDescription = segment.description
    return described


def _as_still(reference: Any, spacing: Spacing, uids: ObjectUids) -> Any:
    """Return the source as a still image, because highdicom accepts clips only in the enhanced form.

    The image gets a frame of reference of its own, without which OHIF and 3D Slicer don't open the segmentation: columns go to the
    right, rows down, the first pixel is at 0, and the frames of a clip are one behind another. It is a new one, so it does not
    state where in the patient the scan is.
    """
    still = copy.deepcopy(reference)
    still.SOPClassUID = pydicom("pydicom.uid").UltrasoundImageStorage
    still.FrameOfReferenceUID = uids("frame of reference")
    still.ImagePositionPatient, still.ImageOrientationPatient = [0, 0, 0], list(UPRIGHT)
    still.PixelSpacing = [f"{value:.10g}" for value in spacing]
    still.SliceThickness = still.PixelSpacing[0]  # unknown but required: a pixel is as thick as it is high
    return still


def _set_class(made: Any, uid: str) -> None:
    for element in made.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = uid


def _add_frames(made: Any, frames: Sequence[int], segments: Sequence[Segment]) -> None:
    """Set the source frame of each map of a clip; highdicom writes one frame if a source has no position in the patient."""
    groups = []
    for segment, first in enumerate(made.PerFrameFunctionalGroupsSequence, 1):
        for position, frame in enumerate(frames, 1):
            group = copy.deepcopy(first)
            group.FrameContentSequence[0].StackID = STACK
            group.FrameContentSequence[0].InStackPositionNumber = position
            group.FrameContentSequence[0].DimensionIndexValues = [segment, *[position] * len(made.DimensionIndexSequence)]
            depth = (position - 1) * float(made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness)
            group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, f"{depth:.10g}"]  # one behind another, without a time axis
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = frame
            groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    made.NumberOfFrames = len(groups)
    place = copy.deepcopy(made.DimensionIndexSequence[0])
    tag = pydicom("pydicom.datadict").tag_for_keyword
    place.DimensionIndexPointer, place.FunctionalGroupPointer = tag("InStackPositionNumber"), tag("FrameContentSequence")
    place.DimensionDescriptionLabel = "Position in the clip"
    made.DimensionIndexSequence = [*made.DimensionIndexSequence, place]
    made.PixelData = _packed(np.concatenate([segment.maps for segment in segments]))


def _packed(maps: NDArray[Any]) -> bytes:
    if maps.dtype == np.bool_:
        content = np.packbits(maps, axis=None, bitorder="little").tobytes()
    else:
        content = np.rint(maps * WHOLE).astype(np.uint8).tobytes()
    return content + b"\0" * (len(content) % 2)


SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # segmentation, label map segmentation
SOURCE = ("DerivationImageSequence", "SourceImageSequence")
FRAME = "ReferencedFrameNumber"
SEGMENT = ("SegmentIdentificationSequence", "ReferencedSegmentNumber")
POSITION = ("PlanePositionSequence", "ImagePositionPatient")
ORIENTATION = ("PlaneOrientationSequence", "ImageOrientationPatient")
UPRIGHT = (1, 0, 0, 0, 1, 0)  # columns to the right, rows down
MOST = 2**28  # pixels of all frames
INSTEAD = "Export the lesion's outline alone, or as a PNG of its image's size."


def read_outline(path: Path) -> Mask:
    """Read the merged mask of a segmentation; a probability above one half is lesion, and a candidate of a model is not.

    Raises:
        ImageError: The file is not a segmentation, or it is of several images or several kinds of tissue, or rotated or mirrored.
    """
    name = str(path)
    with guarded(name):
        with open_regular(path, name) as stored, plain(stored, name, HeaderBudget(name, with_pixels=True)) as file:
            file.most_value_bytes = math.inf
            found = pydicom().dcmread(file, force=True)
        if found.get("SOPClassUID") not in SEGMENTATIONS:
            raise ImageError(f"{name}: is DICOM without an image, and no segmentation. {INSTEAD}")
        size = int(found.Rows), int(found.Columns)
        check_size(*size, name)
        if int(found.get("NumberOfFrames") or 1) * size[0] * size[1] > MOST:
            raise ImageError(f"{name}: declares {found.NumberOfFrames} frames, more than one image's outlines need. {INSTEAD}")
        _check_kinds(found, name)
        _check_place(found, name)
        return _merged(found, size)


def _merged(found: Any, size: tuple[int, int]) -> Mask:
    least = int(found.MaximumFractionalValue) / 2 if found.SegmentationType == "FRACTIONAL" else 0
    frames = pydicom("pydicom.pixels").pixel_array(found)  # all together: single frames fail if their bits do not fill bytes
    candidates = {int(one.SegmentNumber) for one in found.SegmentSequence if BELOW in str(one.get("SegmentLabel", ""))}
    shared, own = (found.get(SHARED) or [{}])[0], found.get(PER_FRAME) or []
    kept = [_declared(group, shared, *SEGMENT) not in candidates for group in own] if candidates else slice(None)
    merged: Mask = (frames > least).reshape(-1, *size)[kept].any(axis=0)
    return merged


def _check_kinds(found: Any, name: str) -> None:
    segments = [one for one in found.SegmentSequence if int(one.SegmentNumber)]  # 0 is the background of label maps
    kinds = {str(code.get("CodeValue")) for one in segments for code in one.get("SegmentedPropertyTypeCodeSequence", ())}
    if len(kinds) > 1:
        raise ImageError(f"{name}: marks {len(kinds)} kinds of tissue, so which of them is the lesion is unknown. {INSTEAD}")


def _check_place(found: Any, name: str) -> None:
    """Raise an error unless all frames refer to one image and have its orientation."""
    shared = (found.get(SHARED) or [{}])[0]
    own = found.get(PER_FRAME) or [{}]
    if len({_source(group, shared) for group in own}) > 1:
        raise ImageError(f"{name}: outlines several images or frames. Each image of a data set has mask files of its own.")
    if {_declared(group, shared, *ORIENTATION) for group in own} - {None, UPRIGHT}:
        raise ImageError(f"{name}: its outline is turned or mirrored. {INSTEAD}")


def _source(group: Any, shared: Any) -> tuple[Any, ...]:
    """Return the image and frame that a frame of the segmentation refers to, and its position in space."""
    return tuple(_declared(group, shared, *path) for path in ((*SOURCE, "ReferencedSOPInstanceUID"), (*SOURCE, FRAME), POSITION))


def _declared(group: Any, shared: Any, *path: str) -> Any:
    """Return the value at the end of a path of sequences in a frame's own group, else in the shared group, else None."""
    for value in (group, shared):
        for keyword in path:
            value = value.get(keyword) if value else None
            value = value[0] if value and keyword.endswith("Sequence") else value
        if value:
            return value if isinstance(value, (str, int)) else tuple(map(float, value))
    return None
