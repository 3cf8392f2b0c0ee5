"""Memory-mapped maps for scans too large for memory, and connected components that are found in bands."""

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

IN_MEMORY = 32_000_000  # pixels of the largest map that is kept in memory
BAND = 4_000_000  # pixels that are processed at once


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


def bands(size: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows that cover a map."""
    rows = max(1, BAND // size[1])
    for top in range(0, size[0], rows):
        yield slice(top, min(top + rows, size[0]))


def at_least(probability: Array, threshold: float) -> Mask:
    """Return a mask that is True where the probability is at least the threshold, computed band by band."""
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


class Component(NamedTuple):
    """Connected component: its number of pixels, its bounding box and one of its pixels."""

    pixels: int
    box: Box
    pixel: tuple[int, int]

    def union(self, other: Component) -> Component:
        """Return the union with another component."""
        (top, left, bottom, right), (above, before, below, after) = self.box, other.box
        box = (min(top, above), min(left, before), max(bottom, below), max(right, after))
        return Component(self.pixels + other.pixels, box, self.pixel)


def stream_lesions(
    over_threshold: Mask, probability: Array, *, min_share: float, spacing: Spacing | None
) -> tuple[Mask, tuple[Lesion, ...]]:
    """Return the same as ``find_lesions``, with no more memory than the bounding box of the largest lesion."""
    smallest = max(1, min_share * over_threshold.size)
    mask: Mask = new_map(over_threshold.shape, np.bool_)
    lesions: list[Lesion] = []
    for component in find_components(over_threshold):
        if component.pixels < smallest:
            continue
        top, left, bottom, right = component.box
        window = (slice(top, bottom), slice(left, right))
        numbers = label(over_threshold[window], connectivity=EVERY_NEIGHBOUR)
        own = numbers == numbers[component.pixel[0] - top, component.pixel[1] - left]
        kept, of_component = find_lesions(own, probability[window], min_share=0, spacing=spacing)
        mask[window] |= kept
        lesions += [_moved(lesion, top, left) for lesion in of_component]
    return mask, tuple(sorted(lesions, key=lambda lesion: -lesion.area_px))


def find_components(mask: Mask) -> list[Component]:
    """Return the connected components of a mask; components that cross bands are joined."""
    parts: list[Component] = []
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
    components: dict[int, Component] = {}
    for index, part in enumerate(parts):
        root = _root(parent, index)
        components[root] = components[root].union(part) if root in components else part
    return list(components.values())


def _parts(numbers: NDArray[np.int32], top: int) -> Iterator[Component]:
    for number, (rows, columns) in enumerate(find_objects(numbers), start=1):
        own = numbers[rows, columns] == number
        box = (top + rows.start, columns.start, top + rows.stop, columns.stop)
        yield Component(int(own.sum()), box, (box[0], columns.start + int(own[0].argmax())))


def _touching(above: NDArray[np.int64], below: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Return the pairs of labels that touch in two adjacent rows, including at corners."""
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
    """Return a lesion that was measured in a window of the scan, in coordinates of the scan."""
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
