"""Connected components of a mask, as runs of pixels: a lesion has some hundred runs where it has ten thousands of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.types import Mask

Integers = NDArray[np.intp]
Window = tuple[slice, slice]
"""Slices of the rows and columns of a mask."""

BAND = 4_000_000  # pixels that are processed at once


class Component(NamedTuple):
    """Connected component: its runs, from the top left to the bottom right. Pixels that touch at a corner are connected.

    Attributes:
        rows: Row of each run.
        starts: First column of each run.
        stops: Column after the last one of each run.
        shared: Numbers of pixels with a pixel of the component directly below, below to the left and below to the right.
    """

    rows: Integers
    starts: Integers
    stops: Integers
    shared: tuple[int, int, int]

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int((self.stops - self.starts).sum())

    @property
    def box(self) -> Window:
        """Bounding box."""
        return slice(int(self.rows[0]), int(self.rows[-1]) + 1), slice(int(self.starts.min()), int(self.stops.max()))

    def paint(self, mask: Mask, top: int = 0, left: int = 0) -> None:
        """Set the pixels of the component in a mask, whose first pixel is at the given row and column."""
        runs = zip((self.rows - top).tolist(), (self.starts - left).tolist(), (self.stops - left).tolist(), strict=True)
        for row, start, stop in runs:
            mask[row, start:stop] = True

    @property
    def region(self) -> Mask:
        """Pixels of the component in its bounding box."""
        rows, columns = self.box
        region = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        self.paint(region, rows.start, columns.start)
        return region


def find_components(mask: Mask, smallest: float = 1) -> tuple[list[Component], bool]:
    """Return the components with at least the smallest number of pixels, and whether these are all components."""
    rows, starts, stops = _runs(mask)
    above, below = _touching(rows, starts, stops, mask.shape[1])
    numbers = _connected(len(rows), above, below)
    large = np.bincount(numbers, stops - starts) >= smallest
    overlaps = [np.minimum(stops[above], stops[below] + by) - np.maximum(starts[above], starts[below] + by) for by in (0, 1, -1)]
    shared = [np.bincount(numbers[above], np.maximum(overlap, 0), len(large)) for overlap in overlaps]
    components = []
    for number in np.flatnonzero(large):
        own = numbers == number
        directly, left, right = (int(pixels[number]) for pixels in shared)
        components.append(Component(rows[own], starts[own], stops[own], (directly, left, right)))
    return components, bool(large.all())


def bands(size: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows that cover a map."""
    rows = max(1, BAND // size[1])
    for top in range(0, size[0], rows):
        yield slice(top, min(top + rows, size[0]))


def _runs(mask: Mask) -> tuple[Integers, Integers, Integers]:
    """Return row, first column and column after the last one of each run."""
    width = mask.shape[1] + 1  # a column without pixels ends the runs of each row
    edges = []
    for rows in bands(mask.shape):
        padded = np.zeros((rows.stop - rows.start, width), bool)
        padded[:, :-1] = mask[rows]
        flat = padded.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        edges.append((np.insert(changes, 0, 0) if flat[0] else changes) + rows.start * width)
    starts, stops = (np.concatenate(edges)[first::2] for first in (0, 1))
    rows_of_runs = starts // width
    return rows_of_runs, starts - rows_of_runs * width, stops - rows_of_runs * width


def _touching(rows: Integers, starts: Integers, stops: Integers, width: int) -> tuple[Integers, Integers]:
    """Return the pairs of runs in adjacent rows that touch, including at corners, by their indices."""
    key = rows * (width + 1)  # so that the runs of all rows are in one order
    first = np.searchsorted(key + stops, key + width + 1 + starts, side="left")
    last = np.searchsorted(key + starts, key + width + 1 + stops, side="right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts, counts)
    return above, np.repeat(first, counts) + within


def _connected(count: int, above: Integers, below: Integers) -> Integers:
    """Return the number of the component of each run; components are numbered in the order of their first run."""
    root = np.arange(count)
    while len(above):
        one, other = root[above], root[below]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root != root[root]).any():
            root = root[root]
        apart = root[above] != root[below]
        above, below = above[apart], below[apart]
    return np.unique(root, return_inverse=True)[1]
