"""Data types that the library's packages share: frozen, with numpy and the standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""An image: H x W or H x W x 3, uint8, or float32 from 0 to 1."""

Mask = NDArray[np.bool_]
Point = tuple[float, float]
"""Row and column in pixels; (0, 0) is the centre of the first pixel."""

Spacing = tuple[float, float]
"""Millimetres per pixel, down and across."""

SPACING_RANGE = 0.001, 10.0
"""Lowest and highest possible millimetres per pixel: from finer than any transducer resolves to coarser than any screen."""

Fact = str | float
"""A fact about a scan or its patient: a text, or a number that can be ordered (an age)."""

Box = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels; bottom and right are one past the last pixel."""


class Flag(NamedTuple):
    """Warning about the quality of a scan or of a prediction: a code for programs and a sentence for readers."""

    code: str
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, kw_only=True)
class Area:
    """A part of an image that shows a scan.

    Attributes:
        box: Position in the image.
        spacing: Millimetres per pixel, down and across, or None when unknown.
        spacing_from: Description of the element that the spacing was read from, or None.
        depth_down: Whether the depth grows from the top row to the bottom row; False if a file states the opposite.
    """

    box: Box
    spacing: Spacing | None = None
    spacing_from: str | None = None
    depth_down: bool = True

    @property
    def pixels(self) -> int:
        """Number of pixels of the area."""
        top, left, bottom, right = self.box
        return max(0, bottom - top) * max(0, right - left)

    @property
    def window(self) -> tuple[slice, slice]:
        """Slices of the area's rows and columns."""
        top, left, bottom, right = self.box
        return slice(top, bottom), slice(left, right)

    def shared_with(self, other: Area) -> int:
        """Return the number of pixels that two areas have in common."""
        top, left = max(self.box[0], other.box[0]), max(self.box[1], other.box[1])
        bottom, right = min(self.box[2], other.box[2]), min(self.box[3], other.box[3])
        return Area(box=(top, left, bottom, right)).pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanImage:
    """A scan that was read from a source.

    Attributes:
        source: Name of the source.
        pixels: Pixels of the whole image or frame.
        areas: Parts of the image that show a scan, in descending order of size; at least one.
        frame: Number of the frame in a clip, counted from 1; None for a single image.
        warnings: Warnings about the file.
    """

    source: str
    pixels: Pixels
    areas: tuple[Area, ...]
    frame: int | None = None
    warnings: tuple[Flag, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LesionMask:
    """The mask of one lesion in an annotation file: the union of its polygons and its bitmap.

    Without polygons and bitmap it is empty: the scan was annotated and shows no lesion.

    Attributes:
        file: Annotation file.
        size: Height and width of the image that was annotated.
        label: Class of the lesion, or None when unknown.
        polygons: Polygons, each as ``(x1, y1, x2, y2, ...)`` in pixels; (0, 0) is the upper left corner of the first pixel.
        box: Position of the bitmap in the image, or None without one.
        bitmap: Pixels of the box, row by row, in bits as of ``numpy.packbits``.
    """

    file: Path
    size: tuple[int, int]
    label: str | None = None
    polygons: tuple[tuple[float, ...], ...] = ()
    box: Box | None = None
    bitmap: bytes = b""


MaskSource = Path | LesionMask
"""A mask file, or the mask of one lesion in an annotation file."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One scan of a data set, by its files; mask and label are optional.

    Attributes:
        id: Name of the sample in its data set: the image's path below the data set's folder, with forward slashes.
        image: Image file.
        masks: Mask files and masks in annotation files, which are merged. None of them means that the mask is unknown, not that it
            is empty.
        label: Name of the class, or None when unknown.
        group: Group (a patient, a set of duplicates) that belongs on one side of a split, or None when unknown.
        part: Part of a split that the data set itself prescribes (``train``, ``val``, ``test``), or None.
        spacing: Millimetres per pixel, down and across, or None when unknown.
        facts: Known facts about the scan, the patient and the machine, by name: ``device``, ``age``, ``birads``, ``histology``,
            ``side``, ``density``, ``hospital`` and others. Unknown ones are left out. Patients' names and numbers are never facts.
    """

    id: str
    image: Path
    masks: tuple[MaskSource, ...] = ()
    label: str | None = None
    group: str | None = None
    part: str | None = None
    spacing: Spacing | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("label", "group"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, name, as_text(value))

    @property
    def files(self) -> tuple[Path, ...]:
        """The image file, and the files of the masks."""
        return (self.image, *(mask.file if isinstance(mask, LesionMask) else mask for mask in self.masks))


def as_text(value: Any) -> str:
    """Return the text of a name that may be a number; a whole number that a table stores as 7.0 becomes ``7``."""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value).strip()


@dataclass(frozen=True)
class Failure:
    """A scan of a stream that could not be read, or whose images could not be written, at its position in the stream.

    Attributes:
        source: Path of the scan, or a description of a source without a path.
        error: Error that was raised.
    """

    source: str
    error: Exception

    def to_dict(self) -> dict[str, Any]:
        """Return source and message in types that JSON supports."""
        return {"source": self.source, "error": str(self.error)}
