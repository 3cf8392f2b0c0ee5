"""The lesions of masks that are too large to be held as numbers for each pixel: found band by band, measured one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label

from bcdseg.infer.answers import Array
from bcdseg.infer.lesions import EVERY_NEIGHBOUR, Lesion, find_lesions
from bcdseg.infer.maps import bands, new_map
from bcdseg.types import Box, Mask, Point, Spacing


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


def find_huge_lesions(
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
