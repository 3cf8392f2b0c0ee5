"""Outlines drawn or found elsewhere, read from a DICOM segmentation of one image: what any of its frames marks is lesion."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from bcdseg.data.dicom.deflated import plain
from bcdseg.data.dicom.functional_groups import PER_FRAME, SHARED
from bcdseg.data.dicom.guard import guarded, pydicom
from bcdseg.data.dicom.header_limits import HeaderBudget
from bcdseg.data.images import check_size
from bcdseg.data.regular_file import open_regular
from bcdseg.errors import ImageError
from bcdseg.types import Mask

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # segmentation, label map segmentation
SOURCE = ("DerivationImageSequence", "SourceImageSequence")
FRAME = "ReferencedFrameNumber"
POSITION = ("PlanePositionSequence", "ImagePositionPatient")
ORIENTATION = ("PlaneOrientationSequence", "ImageOrientationPatient")
UPRIGHT = (1, 0, 0, 0, 1, 0)  # columns to the right, rows down
MOST = 2**28  # pixels of all frames
INSTEAD = "Export the lesion's outline alone, or as a PNG of its image's size."


def read_outline(path: Path) -> Mask:
    """The merged outline; a probability counts above one half.

    Raises:
        ImageError: It is no segmentation, or one of several images or of several kinds of tissue, or turned or mirrored.
    """
    name = str(path)
    with guarded(name):
        with open_regular(path, name) as stored, plain(stored, name, HeaderBudget(name, with_pixels=True)) as file:
            file.most_at_once = math.inf
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
    frames = pydicom("pydicom.pixels").pixel_array(found)  # all at once: single frames of bits that don't fill bytes fail
    merged: Mask = (frames > least).reshape(-1, *size).any(axis=0)
    return merged


def _check_kinds(found: Any, name: str) -> None:
    segments = [one for one in found.SegmentSequence if int(one.SegmentNumber)]  # 0 is the background of label maps
    kinds = {str(code.get("CodeValue")) for one in segments for code in one.get("SegmentedPropertyTypeCodeSequence", ())}
    if len(kinds) > 1:
        raise ImageError(f"{name}: marks {len(kinds)} kinds of tissue, so which of them is the lesion can't be told. {INSTEAD}")


def _check_place(found: Any, name: str) -> None:
    """All frames must be of one image, and lie as it does."""
    shared = (found.get(SHARED) or [{}])[0]
    own = found.get(PER_FRAME) or [{}]
    if len({_source(group, shared) for group in own}) > 1:
        raise ImageError(f"{name}: outlines several images or frames. Each image of a data set has mask files of its own.")
    if {_told(group, shared, *ORIENTATION) for group in own} - {None, UPRIGHT}:
        raise ImageError(f"{name}: its outline lies turned or mirrored. {INSTEAD}")


def _source(group: Any, shared: Any) -> tuple[Any, ...]:
    """The image and frame that a frame's outline is of, and where in space it lies."""
    return tuple(_told(group, shared, *path) for path in ((*SOURCE, "ReferencedSOPInstanceUID"), (*SOURCE, FRAME), POSITION))


def _told(group: Any, shared: Any, *path: str) -> Any:
    """What a frame's own group says at the end of a path of sequences, else the group that all share; None if neither does."""
    for told in (group, shared):
        for keyword in path:
            told = told.get(keyword) if told else None
            told = told[0] if told and keyword.endswith("Sequence") else told
        if told:
            return told if isinstance(told, (str, int)) else tuple(map(float, told))
    return None
