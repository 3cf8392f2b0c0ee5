"""Maps over scans: in memory, or, of huge scans, in a file that the system maps into memory bit by bit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.errors import OutputError
from bcdseg.infer.answers import Array
from bcdseg.types import Area, Mask

IN_MEMORY = 32_000_000  # pixels of the largest map that is held in memory
BAND = 4_000_000  # pixels that are worked on at once


def is_huge(size: tuple[int, ...]) -> bool:
    """Whether maps of this height and width go to disk."""
    return size[0] * size[1] > IN_MEMORY


def new_map(size: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """A map of zeros.

    The file of a huge one lies in the system's folder for temporary files (``TMPDIR``) and has no name: nobody sees a part of it,
    and it is gone with the last array that uses it, even when the process is killed.
    """
    if not is_huge(size):
        return np.zeros(size, dtype)
    try:
        with tempfile.TemporaryFile(prefix="bcdseg-") as file:
            return np.memmap(file, dtype, "w+", shape=(size[0], size[1]))
    except OSError as error:
        raise OutputError(
            f"A map of {size[0]}x{size[1]} pixels can't be held in {tempfile.gettempdir()} ({error.strerror}). "
            "Let the variable TMPDIR name a folder on a disk with room."
        ) from error


def bands(size: tuple[int, ...]) -> Iterator[slice]:
    """The rows of a map, some at a time."""
    rows = max(1, BAND // size[1])
    for top in range(0, size[0], rows):
        yield slice(top, min(top + rows, size[0]))


def at_least(probability: Array, threshold: float) -> Mask:
    """True where a probability is the threshold or more."""
    if not is_huge(probability.shape):
        return probability >= threshold
    over: Mask = new_map(probability.shape, np.bool_)
    for rows in bands(over.shape):
        over[rows] = probability[rows] >= threshold
    return over


def resized_map(probability: Array, size: tuple[int, int]) -> Array:
    """A map at another height and width, as ``resize_plane`` makes it, band by band."""
    if probability.shape == size:
        return probability
    whole: Array = new_map(size, np.float32)
    step = probability.shape[0] / size[0]
    beyond = int(max(1, step)) + 2  # rows that smoothing looks at
    for rows in bands(size):
        top = max(0, int(rows.start * step) - beyond)
        part = Image.fromarray(probability[top : int(rows.stop * step) + beyond])
        part = part.resize((size[1], part.height), Image.Resampling.BILINEAR)
        box = (0, rows.start * step - top, size[1], min(rows.stop * step - top, part.height))
        whole[rows] = np.asarray(part.resize((size[1], rows.stop - rows.start), Image.Resampling.BILINEAR, box=box))
    return whole


def in_frame(over_area: Array, area: Area, size: tuple[int, ...]) -> Array:
    """A map over an area as a map over the whole scan, 0 elsewhere."""
    if over_area.shape == size:
        return over_area
    whole: Array = new_map(size, np.float32)
    whole[area.window] = over_area
    return whole


def merged(maps: Sequence[NDArray[Any]]) -> Any:
    """The largest value of each pixel, written into the first map; None of no maps."""
    return reduce(lambda one, other: np.maximum(one, other, out=one), maps) if maps else None
