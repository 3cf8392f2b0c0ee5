"""Maps too large for memory: memory-mapped, with components found in bands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import find_objects
from skimage.measure import label

from bcdseg.errors import OutputError
from bcdseg.inference.lesions import EVERY_NEIGHBOUR, Lesion, find_lesions
from bcdseg.runtimes.base import Array
from bcdseg.types import Area, Box, Mask, Point, Spacing

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


class Region(NamedTuple):
    """Pixels that belong together: how many, where, and one of them."""

    pixels: int
    box: Box
    one: tuple[int, int]

    def with_other(self, other: Region) -> Region:
        """Both as one."""
        (top, left, bottom, right), (above, before, below, after) = self.box, other.box
        box = (min(top, above), min(left, before), max(bottom, below), max(right, after))
        return Region(self.pixels + other.pixels, box, self.one)


def stream_lesions(
    over_threshold: Mask, probability: Array, *, min_share: float, spacing: Spacing | None
) -> tuple[Mask, tuple[Lesion, ...]]:
    """What ``find_lesions`` gives, in the memory of the largest lesion's box."""
    smallest = max(1, min_share * over_threshold.size)
    mask: Mask = new_map(over_threshold.shape, np.bool_)
    lesions: list[Lesion] = []
    for region in find_regions(over_threshold):
        if region.pixels < smallest:
            continue
        top, left, bottom, right = region.box
        window = (slice(top, bottom), slice(left, right))
        numbers = label(over_threshold[window], connectivity=EVERY_NEIGHBOUR)
        own = numbers == numbers[region.one[0] - top, region.one[1] - left]
        kept, found = find_lesions(own, probability[window], min_share=0, spacing=spacing)
        mask[window] |= kept
        lesions += [_moved(lesion, top, left) for lesion in found]
    return mask, tuple(sorted(lesions, key=lambda lesion: -lesion.area_px))


def find_regions(mask: Mask) -> list[Region]:
    """The regions of a mask, those that reach over several bands as one."""
    parts: list[Region] = []
    parent: list[int] = []
    last_row = np.zeros(mask.shape[1], np.int64)
    for rows in bands(mask.shape):
        numbers, count = label(mask[rows], connectivity=EVERY_NEIGHBOUR, return_num=True)
        first = len(parts)
        parts += _parts(numbers, rows.start)
        parent += range(first, first + count)
        for above, below in _touching(last_row, np.where(numbers[0] > 0, numbers[0] + first, 0)):
            parent[_root(parent, below - 1)] = _root(parent, above - 1)
        last_row = np.where(numbers[-1] > 0, numbers[-1] + first, 0)
    regions: dict[int, Region] = {}
    for index, part in enumerate(parts):
        root = _root(parent, index)
        regions[root] = regions[root].with_other(part) if root in regions else part
    return list(regions.values())


def _parts(numbers: NDArray[np.int32], top: int) -> Iterator[Region]:
    for number, (rows, columns) in enumerate(find_objects(numbers), start=1):
        own = numbers[rows, columns] == number
        box = (top + rows.start, columns.start, top + rows.stop, columns.stop)
        yield Region(int(own.sum()), box, (box[0], columns.start + int(own[0].argmax())))


def _touching(above: NDArray[np.int64], below: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Pairs of numbers in two rows that touch, corners included."""
    width = len(above)
    pairs: set[tuple[int, int]] = set()
    for shift in (-1, 0, 1):
        upper, lower = above[max(0, shift) : width + min(0, shift)], below[max(0, -shift) : width + min(0, -shift)]
        both = (upper > 0) & (lower > 0)
        pairs |= {(int(one), int(other)) for one, other in zip(upper[both], lower[both], strict=True)}
    return pairs


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _moved(lesion: Lesion, down: int, across: int) -> Lesion:
    """A lesion that was measured in a part of the scan, in the whole."""
    top, left, bottom, right = lesion.box
    return replace(
        lesion,
        box=(top + down, left + across, bottom + down, right + across),
        centroid=_shifted(lesion.centroid, down, across),
        long_axis_ends=(_shifted(lesion.long_axis_ends[0], down, across), _shifted(lesion.long_axis_ends[1], down, across)),
        short_axis_ends=(_shifted(lesion.short_axis_ends[0], down, across), _shifted(lesion.short_axis_ends[1], down, across)),
    )


def _shifted(point: Point, down: int, across: int) -> Point:
    return point[0] + down, point[1] + across
