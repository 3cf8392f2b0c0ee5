"""Gray values in, around and behind a lesion.

All numbers are measured on a window around the lesion, reduced to some 50 cells across it: a mean of many pixels has little
speckle, and the cost doesn't depend on the size of the scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.data.images import to_gray
from bcdseg.types import Area, Box, Mask, Pixels

ACROSS = 50  # cells across a lesion
AROUND, ABOVE, BELOW = 0.75, 0.2, 1.0  # window around the box of a lesion, in widths and heights of the box
SAMPLED = 3  # pixels of a cell that are read down and across, of more
SMALLEST = 16  # pixels across a lesion; fewer don't separate its core from its margin
SMALLEST_MARGIN = 32  # pixels across a lesion whose edge is judged: a blur of one pixel is then 3 % of it
LEAST_ADJACENT, LEAST_BELOW = 0.2, 0.3  # least size of the tissue, in widths and heights of the box
EDGES = 0.2  # fraction of the width at either side that is ignored behind the lesion, since refraction makes shadows there
BLACK = 0.06  # mean gray of a patch up to which it is echo-free; white is 1
DARK = 0.04  # mean gray of tissue below which a ratio to it means nothing
PATCHES, FEWEST_PATCHES = 8, 4  # patches across a lesion whose mean gray is compared, and the fewest for a deviation
SECTORS = 12  # parts of the outline whose edge is judged
STEP, REACH = 0.06, 0.16  # width of an abrupt edge, and of the profile on either side of the outline, over the lesion's diameter
VISIBLE = 0.08  # gray difference across an abrupt edge
ABRUPT = 0.4  # its fraction of the range of gray along the profile

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


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Gray values in, around and behind a lesion; a number is None where it can't be measured.

    Adjacent tissue is the tissue left and right of the lesion's box, at the same depth, outside of all outlines.

    Attributes:
        echo_ratio: Mean gray of the core, without the margin, over that of the adjacent tissue.
        echo_variation: Standard deviation of the gray of patches of the core, each an eighth of the lesion wide, over the mean gray
            of the adjacent tissue.
        echo_free: Fraction of these patches that are almost black.
        abrupt_edge: Fraction of the outline across which the gray changes abruptly; None if the lesion touches the border.
        posterior_ratio: Mean gray behind the lesion over that of the adjacent tissue at the same depth; None with too little
            tissue behind it.
        posterior_left: The same behind the left half of the lesion.
        posterior_right: The same behind the right half.
    """

    echo_ratio: float | None = None
    echo_variation: float | None = None
    echo_free: float | None = None
    abrupt_edge: float | None = None
    posterior_ratio: float | None = None
    posterior_left: float | None = None
    posterior_right: float | None = None


def measure_appearance(pixels: Pixels, mask: Mask, lesion: Mask, box: Box, area: Area) -> Appearance:
    """Measure the gray values of one lesion.

    Args:
        pixels: The scan.
        mask: All outlines of the scan.
        lesion: Pixels of the lesion in its box.
        box: Box of the lesion.
        area: Region of the scan; nothing outside is measured. Its spacing makes the cells of the window square.
    """
    across, border = 2 * math.sqrt(np.count_nonzero(lesion) / math.pi), area.box
    if across < SMALLEST or min(lesion.shape) < SMALLEST / 2 or area.shared_with(Area(box=box)) < Area(box=box).pixels:
        return Appearance()
    window = read_window(pixels, mask, lesion, box, area, reach=REACH)
    is_apart = box[0] > border[0] and box[1] > border[1] and box[2] < border[2] and box[3] < border[3]
    adjacent = _adjacent_gray(window)
    core = window.lesion & ((window.levels == 0) | (window.levels < -window.cells(STEP)))
    patches = _patches(window, core)
    behind = _posterior_ratios(window, adjacent) if area.depth_down else _Behind()
    return Appearance(
        echo_ratio=_ratio(window.gray, core, adjacent),
        echo_variation=_variation(patches, core, adjacent),
        echo_free=float((patches <= BLACK).mean()) if len(patches) else None,
        abrupt_edge=_abrupt_edge(window) if is_apart and across >= SMALLEST_MARGIN else None,
        posterior_ratio=behind.whole,
        posterior_left=behind.left,
        posterior_right=behind.right,
    )


def _adjacent_gray(window: Window) -> Gray:
    """Return the mean gray of the adjacent tissue in each row; NaN where there is too little of it."""
    _, left, _, right = window.box
    least, gap = LEAST_ADJACENT * (right - left), window.cells(STEP)
    chosen = np.zeros(window.gray.shape, bool)
    for side in (np.s_[:, : max(0, left - gap)], np.s_[:, right + gap :]):
        if chosen[side].shape[1] >= least:
            chosen[side] = window.tissue[side]
    counts = chosen.sum(axis=1)
    sums = np.where(chosen, window.gray, np.float32(0)).sum(axis=1)
    return np.where(counts >= least, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def _expected(chosen: Mask, adjacent: Gray) -> tuple[float, Mask] | None:
    """Return the mean gray of the adjacent tissue in the rows of some cells, and the cells in rows where it is known."""
    counts = chosen.sum(axis=1)
    known = (counts > 0) & np.isfinite(adjacent)
    cells = int(counts[known].sum())
    if cells == 0 or cells < counts.sum() / 2:
        return None
    gray = float(adjacent[known] @ counts[known]) / cells
    return (gray, chosen & known[:, None]) if gray >= DARK else None


def _ratio(gray: Gray, chosen: Mask, adjacent: Gray) -> float | None:
    """Return the mean gray of some cells over that of the adjacent tissue in the same rows."""
    expected = _expected(chosen, adjacent)
    return None if expected is None else float(gray[expected[1]].mean()) / expected[0]


def _patches(window: Window, core: Mask) -> Gray:
    """Return the mean gray of patches of the core, which has much less speckle than that of cells."""
    patch = max(1, round(window.diameter / PATCHES))
    patches = max(1, core.shape[0] // patch), max(1, core.shape[1] // patch)
    filled = cell_means(core, patches)
    sums = cell_means(np.where(core, window.gray, np.float32(0)), patches)
    grays: Gray = sums[filled >= 0.5] / filled[filled >= 0.5]
    return grays


def _variation(patches: Gray, core: Mask, adjacent: Gray) -> float | None:
    """Return the deviation of the gray of patches of the core over the gray of the adjacent tissue."""
    expected = _expected(core, adjacent)
    return None if expected is None or len(patches) < FEWEST_PATCHES else float(patches.std()) / expected[0]


class _Behind(NamedTuple):
    whole: float | None = None
    left: float | None = None
    right: float | None = None


def _posterior_ratios(window: Window, adjacent: Gray) -> _Behind:
    """Return the gray behind the middle of the lesion, and behind both of its halves, over that of the adjacent tissue."""
    top, left, bottom, right = window.box
    below = np.s_[bottom + window.cells(STEP) :]
    if len(window.gray[below]) < LEAST_BELOW * (bottom - top):
        return _Behind()
    start, middle, stop = (round(left + part * (right - left)) for part in (EDGES, 0.5, 1 - EDGES))
    ratios = []
    for columns in (slice(start, stop), slice(start, middle), slice(middle, stop)):
        behind = np.zeros(window.gray.shape, bool)
        behind[below, columns] = window.tissue[below, columns]
        has_tissue = behind.any() and behind[below, columns].mean() >= 0.5
        ratios.append(_ratio(window.gray, behind, adjacent) if has_tissue else None)
    return _Behind(*ratios)


def _abrupt_edge(window: Window) -> float | None:
    """Return the fraction of the outline across which the gray changes abruptly."""
    profiles, lengths = _profiles(window)
    reach, step = profiles.shape[1] // 2, window.cells(STEP)
    if not lengths.any():
        return None
    # The outline may be a step away from the edge. The direction of the change of gray is that along most of the outline.
    direction = np.sign(lengths @ (profiles[:, reach:].mean(axis=1) - profiles[:, :reach].mean(axis=1)))
    sums = np.pad(np.cumsum(profiles, axis=1), ((0, 0), (1, 0)))
    places = np.arange(max(step, reach - step), min(2 * reach - step, reach + step) + 1)
    changes = direction * (sums[:, places + step] - 2 * sums[:, places] + sums[:, places - step]) / step
    largest = changes.max(axis=1)
    abrupt = (largest >= VISIBLE) & (largest >= ABRUPT * np.ptp(profiles, axis=1))
    return float(lengths @ abrupt / lengths.sum())


def _profiles(window: Window) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the mean gray by distance from the outline, from inside to outside, in each sector, and each sector's length."""
    top, left, bottom, right = window.box
    rows, columns = np.nonzero(window.levels)
    levels, gray = window.levels[rows, columns].astype(np.intp), window.gray[rows, columns]
    reach = window.cells(REACH)
    down, across = (rows - (top + bottom - 1) / 2) / (bottom - top), (columns - (left + right - 1) / 2) / (right - left)
    sectors = ((np.arctan2(down, across) / math.tau + 0.5) * SECTORS).astype(np.intp) % SECTORS
    places = sectors * 2 * reach + reach + levels - (levels > 0)
    counts = np.bincount(places, minlength=SECTORS * 2 * reach).reshape(SECTORS, 2 * reach)
    sums = np.bincount(places, gray, SECTORS * 2 * reach).reshape(SECTORS, 2 * reach)
    return sums / np.maximum(counts, 1), counts[:, reach - 1]
