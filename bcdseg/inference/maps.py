"""Maps of a scan, memory-mapped where they are too large for memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.errors import OutputError
from bcdseg.inference.components import bands
from bcdseg.runtimes.base import Array
from bcdseg.types import Area, Mask

IN_MEMORY = 32_000_000  # pixels of the largest map that is kept in memory


def is_huge(size: tuple[int, ...]) -> bool:
    """Return whether maps of this height and width are memory-mapped."""
    return size[0] * size[1] > IN_MEMORY


def new_map(size: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return a map of zeros, memory-mapped if it is huge.

    The file is in the system's folder for temporary files (``TMPDIR``) and has no name: no other process can read it, and it
    disappears with the last array that uses it, even when the process is killed.
    """
    if not is_huge(size):
        return np.zeros(size, dtype)
    try:
        with tempfile.TemporaryFile(prefix="bcdseg-") as file:
            return np.memmap(file, dtype, "w+", shape=(size[0], size[1]))
    except OSError as error:
        raise OutputError(
            f"A map of {size[0]}x{size[1]} pixels can't be stored in {tempfile.gettempdir()} ({error.strerror}). "
            "Set the variable TMPDIR to a folder on a disk with enough space."
        ) from error


def at_least(probability: Array, threshold: float) -> Mask:
    """Return a mask that is True where the probability is at least the threshold; a huge one is computed band by band."""
    if not is_huge(probability.shape):
        return probability >= threshold
    over: Mask = new_map(probability.shape, np.bool_)
    for rows in bands(over.shape):
        over[rows] = probability[rows] >= threshold
    return over


def resized_map(probability: Array, size: tuple[int, int]) -> Array:
    """Resize a map as ``resize_plane`` does, band by band."""
    if probability.shape == size:
        return probability
    whole: Array = new_map(size, np.float32)
    step = probability.shape[0] / size[0]
    margin = int(max(1, step)) + 2  # neighbouring rows used in smoothing
    for rows in bands(size):
        top = max(0, int(rows.start * step) - margin)
        part = Image.fromarray(probability[top : int(rows.stop * step) + margin])
        part = part.resize((size[1], part.height), Image.Resampling.BILINEAR)
        box = (0, rows.start * step - top, size[1], min(rows.stop * step - top, part.height))
        whole[rows] = np.asarray(part.resize((size[1], rows.stop - rows.start), Image.Resampling.BILINEAR, box=box))
    return whole


def in_frame(region_map: Array, area: Area, size: tuple[int, ...]) -> Array:
    """Return the map of a region as a map of the whole scan that is 0 elsewhere."""
    if region_map.shape == size:
        return region_map
    whole: Array = new_map(size, np.float32)
    whole[area.window] = region_map
    return whole


def merged(maps: Sequence[NDArray[Any]]) -> Any:
    """Return the maximum of maps at each pixel, written to the first map; None without maps."""
    return reduce(lambda first, other: np.maximum(first, other, out=first), maps) if maps else None
