"""The facts that rooms hand to each other: frozen, made of numpy and the standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""An image as the library holds it: H x W or H x W x 3, uint8, or float32 from 0 to 1."""

Mask = NDArray[np.bool_]
Point = tuple[float, float]
"""Row and column, in pixels; (0, 0) is the middle of the first pixel."""

Spacing = tuple[float, float]
"""Millimetres per pixel, down and across."""

SPACING_RANGE = 0.001, 10.0
"""Millimetres per pixel that are possible: from finer than any transducer resolves to coarser than any screen."""

Box = tuple[int, int, int, int]
"""Top, left, bottom and right, in pixels; bottom and right are one past the last pixel."""


class Doubt(NamedTuple):
    """What a reader of a file doubts about it: a code to test for and a sentence to read."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Area:
    """A part of an image that is scan.

    Attributes:
        box: Where it lies.
        spacing: Millimetres per pixel, down and across, or None when unknown.
        spacing_from: Where the spacing was found, in words, or None.
    """

    box: Box
    spacing: Spacing | None = None
    spacing_from: str | None = None

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        top, left, bottom, right = self.box
        return max(0, bottom - top) * max(0, right - left)

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        top, left, bottom, right = self.box
        return slice(top, bottom), slice(left, right)

    def shared_with(self, other: Area) -> int:
        """How many pixels two areas have in common."""
        top, left = max(self.box[0], other.box[0]), max(self.box[1], other.box[1])
        bottom, right = min(self.box[2], other.box[2]), min(self.box[3], other.box[3])
        return Area(box=(top, left, bottom, right)).pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanImage:
    """A scan as it was read.

    Attributes:
        source: What to call it.
        pixels: The whole image, or the whole frame.
        areas: The parts of it that are scan, the largest first; at least one.
        frame: Its number in a clip, counted from 1; None for a single image.
        doubts: What its file gives to doubt.
    """

    source: str
    pixels: Pixels
    areas: tuple[Area, ...]
    frame: int | None = None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One scan of a data set, by its files. Mask and label are each optional.

    Attributes:
        id: Name of the sample in its data set: the image's path below the data set's folder, with forward slashes.
        image: The image file.
        masks: Mask files; several are merged into one. Empty means that the mask is unknown, not that it is empty.
        label: Name of the class, or None when it is unknown.
        group: Samples of one group (a patient, a set of duplicates) belong on one side of a split. None when unknown.
        part: The part of a split that the data set itself prescribes (``train``, ``val``, ``test``), or None.
        spacing: Millimetres per pixel, down and across, or None when unknown.
    """

    id: str
    image: Path
    masks: tuple[Path, ...] = ()
    label: str | None = None
    group: str | None = None
    part: str | None = None
    spacing: Spacing | None = None


@dataclass(frozen=True)
class Failure:
    """A scan of a stream that could not be read, or whose pictures could not be written, in its place in the stream.

    Attributes:
        source: The scan's path, or what it was when it had none.
        error: Why.
    """

    source: str
    error: Exception

    def to_dict(self) -> dict[str, Any]:
        """Source and message, in types that JSON knows."""
        return {"source": self.source, "error": str(self.error)}
