"""The facts that rooms hand to each other: frozen, made of numpy and the standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""An image as the library holds it: H x W or H x W x 3, uint8, or float32 from 0 to 1."""

Mask = NDArray[np.bool_]
Point = tuple[float, float]
"""Row and column, in pixels; (0, 0) is the middle of the first pixel."""

Spacing = tuple[float, float]
"""Millimetres per pixel, down and across."""


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
