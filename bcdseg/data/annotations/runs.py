"""Run-length encodings of masks: those of COCO, in columns, and of CVAT, in rows of a box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import InputError
from bcdseg.types import LesionMask, Mask

FIRST, DIGIT, SIGN, MORE = 48, 0x1F, 0x10, 0x20
"""Compressed COCO runs are numbers in digits of 5 bits, the least significant first, each a character from ``0`` on."""


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
