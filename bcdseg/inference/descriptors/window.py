"""A window around a lesion, reduced to a grid of cells."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.data.images import to_gray
from bcdseg.types import Area, Box, Mask, Pixels

ACROSS = 50  # cells across a lesion
AROUND, ABOVE, BELOW = 0.75, 0.2, 1.0  # window around the box of a lesion, in widths and heights of the box
SAMPLED = 3  # pixels of a cell that are read down and across, of more

Gray = NDArray[np.float32]


class Window(NamedTuple):
    """A window around a lesion.

    Attributes:
        gray: Mean gray of each cell, 0 to 1.
        lesion: True in the lesion.
        tissue: True outside of all outlines.
        levels: Distance from the outline in cells, from 1 outside and from -1 inside; 0 where it is farther than ``reach``.
        box: Box of the lesion, in cells.
        diameter: Diameter of a disc of the lesion's area, in cells.
    """

    gray: Gray
    lesion: Mask
    tissue: Mask
    levels: NDArray[np.int8]
    box: Box
    diameter: float

    def cells(self, fraction: float) -> int:
        """Return a fraction of the lesion's diameter as a number of cells, at least 1."""
        return max(1, round(fraction * self.diameter))


def read_window(pixels: Pixels, mask: Mask, lesion: Mask, box: Box, area: Area, *, reach: float) -> Window:
    """Reduce the window around a lesion.

    Args:
        pixels: The scan.
        mask: All outlines of the scan.
        lesion: Pixels of the lesion in its box.
        box: Box of the lesion.
        area: Region of the scan that limits the window.
        reach: Largest distance from the outline in ``levels``, over the lesion's diameter.
    """
    (top, left, bottom, right), (down, across) = box, area.spacing or (1.0, 1.0)
    above, below, around = (round(ABOVE * (bottom - top)), round(BELOW * (bottom - top)), round(AROUND * (right - left)))
    first_row, last_row = max(area.box[0], top - above), min(area.box[2], bottom + below)
    first, last = max(area.box[1], left - around), min(area.box[3], right + around)
    diameter = 2 * math.sqrt(np.count_nonzero(lesion) * down * across / math.pi)
    cell = max(diameter / ACROSS, down, across)  # no cell is smaller than a pixel
    shape = max(1, round((last_row - first_row) * down / cell)), max(1, round((last - first) * across / cell))
    # Of large cells only some pixels are read, so that the window of a huge lesion is not in memory.
    steps = max(1, int(cell / down / SAMPLED)), max(1, int(cell / across / SAMPLED))
    part = np.s_[first_row : last_row : steps[0], first : last : steps[1]]
    own = np.zeros(mask[part].shape, bool)
    skipped = -((first_row - top) // steps[0]), -((first - left) // steps[1])  # rows and columns before the box
    inside = lesion[first_row + skipped[0] * steps[0] - top :: steps[0], first + skipped[1] * steps[1] - left :: steps[1]]
    own[skipped[0] : skipped[0] + inside.shape[0], skipped[1] : skipped[1] + inside.shape[1]] = inside
    tall, wide = shape[0] / (last_row - first_row), shape[1] / (last - first)
    in_cells = (
        math.floor((top - first_row) * tall),
        math.floor((left - first) * wide),
        math.ceil((bottom - first_row) * tall),
        math.ceil((right - first) * wide),
    )
    window = Window(
        gray=cell_means(to_gray(pixels[part]), shape),
        lesion=cell_means(own, shape) >= 0.5,
        tissue=cell_means(mask[part] | own, shape) == 0,
        levels=np.zeros(shape, np.int8),
        box=in_cells,
        diameter=diameter / cell,
    )
    count = window.cells(reach)
    near = np.s_[max(0, in_cells[0] - count) : in_cells[2] + count, max(0, in_cells[1] - count) : in_cells[3] + count]
    window.levels[near] = _levels(window.lesion[near], count)
    return window


def cell_means(values: Pixels | Mask, shape: tuple[int, int]) -> Gray:
    """Return the mean of the values in each cell of a grid, from 0 to 1."""
    white = 1 if values.dtype == np.float32 else 255
    levels = values.astype(np.uint8) * 255 if values.dtype == bool else np.ascontiguousarray(values)
    means = Image.fromarray(levels).resize(shape[::-1], Image.Resampling.BOX)
    gray: Gray = np.asarray(means, np.float32) / np.float32(white)
    return gray


def _levels(lesion: Mask, count: int) -> NDArray[np.int8]:
    """Return the distance of each cell from the outline, up to a count: 1, 2... outside, -1, -2... inside, else 0."""
    levels = np.zeros(lesion.shape, np.int8)
    for sign, grown in ((1, lesion), (-1, ~lesion)):
        for level in range(1, count + 1):
            larger = _grown(grown, diagonally=level % 3 == 0)  # of three steps, one diagonal makes an octagon, about a disc
            levels[larger & ~grown] = sign * level
            grown = larger
    return levels


def _grown(mask: Mask, *, diagonally: bool) -> Mask:
    """Return a mask with the neighbours of its cells in rows and columns, and with ``diagonally`` those at corners."""
    grown: Mask = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    across = grown.copy() if diagonally else mask
    grown[:, 1:] |= across[:, :-1]
    grown[:, :-1] |= across[:, 1:]
    return grown
