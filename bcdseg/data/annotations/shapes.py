"""Shapes of annotated lesions: polygons, ellipses, small masks at a position, and run-length encodings of COCO and CVAT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.annotations.samples import AnnotatedImage
from bcdseg.errors import InputError
from bcdseg.types import LesionMask, Mask

CIRCLE_POINTS = 128
FIRST, DIGIT, SIGN, MORE = 48, 0x1F, 0x10, 0x20
"""Compressed COCO runs are numbers in digits of 5 bits, the least significant first, each a character from ``0`` on."""


def check_polygon(numbers: Iterable[Any], what: str, size: tuple[int, int] | None = None) -> tuple[float, ...]:
    """Return the coordinates of a polygon as numbers, x and y alternating.

    Args:
        numbers: The coordinates.
        what: Name of the polygon in errors.
        size: Height and width of the image, for coordinates in pixels.

    Raises:
        InputError: They are not finite numbers of three points or more, or the whole polygon is outside of the image.
    """
    try:
        values = tuple(float(number) for number in numbers)
    except (TypeError, ValueError):
        raise InputError(f"{what}: a coordinate of its polygon is not a number") from None
    if len(values) < 6 or len(values) % 2 or not all(map(math.isfinite, values)):
        raise InputError(f"{what}: its polygon has {len(values)} numbers; x and y of three points or more are expected")
    for axis, start, side in (("x", 0, size[1]), ("y", 1, size[0])) if size is not None else ():
        low, high = min(values[start::2]), max(values[start::2])
        if low >= side or high <= 0:
            raise InputError(
                f"{what}: its polygon is outside of the image, whose {axis} ends at {side}: it has {low:g} to {high:g}"
            )
    return values


def ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> tuple[float, ...]:
    """Return an ellipse as a polygon, turned clockwise by an angle in degrees."""
    turn = math.radians(degrees)
    values: list[float] = []
    for step in range(CIRCLE_POINTS):
        angle = 2 * math.pi * step / CIRCLE_POINTS
        across, down = radii[0] * math.cos(angle), radii[1] * math.sin(angle)
        values.append(centre[0] + across * math.cos(turn) - down * math.sin(turn))
        values.append(centre[1] + across * math.sin(turn) + down * math.cos(turn))
    return tuple(values)


def place(pixels: Mask, start: tuple[int, int], image: AnnotatedImage, label: str, what: str) -> LesionMask:
    """Return the lesion of a small mask whose first pixel is at a row and a column of its image."""
    (top, left), (height, width) = start, pixels.shape
    if min(top, left) < 0 or top + height > image.size[0] or left + width > image.size[1]:
        raise InputError(f"{what}: its mask is outside of the image")
    mask = np.zeros(image.size, bool)
    mask[top : top + height, left : left + width] = pixels
    return lesion_of(mask, image.file, label)


def lesion_of(mask: Mask, file: Path, label: str | None = None) -> LesionMask:
    """Return a mask as that of a lesion in an annotation file."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return LesionMask(file=file, size=(height, width), label=label)
    box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    bits = np.packbits(mask[box[0] : box[2], box[1] : box[3]]).tobytes()
    return LesionMask(file=file, size=(height, width), label=label, box=box, bitmap=bits)


def decode_coco(counts: str | Sequence[int], size: tuple[int, int]) -> Mask:
    """Return the mask of COCO's run lengths, as numbers or compressed to text.

    Raises:
        InputError: The runs are damaged, or their sum is not the number of pixels.
    """
    runs = _expanded(counts) if isinstance(counts, str) else counts
    mask: Mask = _drawn(runs, (size[1], size[0])).T
    return mask


def encode_coco(mask: Mask) -> dict[str, object]:
    """Return a mask as compressed run lengths of COCO."""
    flat = mask.T.ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0] * (1 + bool(flat[0])), starts, [flat.size]))  # the first run is of background, maybe of no pixel
    runs = np.diff(edges)
    return {"size": [int(side) for side in mask.shape], "counts": _compressed([int(run) for run in runs])}


def decode_cvat(text: str, size: tuple[int, int]) -> Mask:
    """Return the mask of CVAT's run lengths, which are separated by commas, in rows of a box.

    Args:
        text: The run lengths; the first one is of background.
        size: Height and width of the box.
    """
    try:
        runs = [int(run) for run in text.split(",")]
    except ValueError:
        raise InputError(f"rle={text[:30]!r} is not numbers separated by commas") from None
    return _drawn(runs, size)


def _drawn(runs: Sequence[int], size: tuple[int, int]) -> Mask:
    counts = _numbers(runs)
    if counts.sum() != size[0] * size[1]:
        raise InputError(f"its run lengths add up to {counts.sum()} pixels, not to {size[0]} x {size[1]}")
    mask: Mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size)
    return mask


def _numbers(runs: Sequence[int]) -> NDArray[np.int64]:
    counts = np.asarray(runs)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise InputError("its run lengths are not whole numbers from 0")
    return counts.astype(np.int64)


def _expanded(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - FIRST
        if not 0 <= digit < 2 * MORE:
            raise InputError(f"its compressed run lengths contain {character!r}")
        value |= (digit & DIGIT) << shift
        shift += 5
        if not digit & MORE:
            value -= (digit & SIGN) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _compressed(runs: Sequence[int]) -> str:
    text = []
    for at, run in enumerate(runs):
        value = run - runs[at - 2] if at > 2 else run
        while True:
            digit, value = value & DIGIT, value >> 5
            done = value == (-1 if digit & SIGN else 0)
            text.append(chr(FIRST + digit + (0 if done else MORE)))
            if done:
                break
    return "".join(text)
