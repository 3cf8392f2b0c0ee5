"""Refinement: the network processes the window around the main outline of a region once more, enlarged (coarse to fine).

The second pass may correct an outline, but not erase it: where its own outline is another one, the first pass stands.
"""

from __future__ import annotations

import math

import numpy as np

from bcdseg.data.masks import dice
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.inference.lesions import Window, find_components
from bcdseg.inference.regions import RegionInput, RegionOutput, WholeRegion
from bcdseg.runtimes.base import Array

OUTLINED = 0.4  # probability from which a pixel belongs to an outline here, whatever the threshold of the prediction
SMALLEST = 0.3  # of the longer side of the region
LARGEST = 0.9  # a larger window is hardly enlarged
AGREEMENT = 0.35  # least Dice of the outlines of both passes in the window
SAMPLED = 256  # the outline is located on about as many rows and columns


def main_window(probability: Array, factor: float) -> Window | None:
    """Return the window around the main outline of a region: that with the largest sum of probabilities.

    Args:
        probability: Probability of a lesion at each pixel of the region.
        factor: Height and width of the window as a multiple of the longer side of the outline.

    Returns:
        Slices of rows and columns; None where nothing is outlined, or where the window is not much smaller than the region.
    """
    step = max(1, min(probability.shape) // SAMPLED)
    sampled = probability[::step, ::step]
    outlines, _ = find_components(sampled >= OUTLINED)
    if not outlines:
        return None
    main = max(outlines, key=lambda one: float(sampled[one.window][one.region()].sum()))
    rows, columns = (slice(part.start * step, part.stop * step) for part in main.window)
    longest = max(probability.shape)
    side = max(factor * max(rows.stop - rows.start, columns.stop - columns.start), SMALLEST * longest)
    if side > LARGEST * longest:
        return None
    return _around(rows, side, probability.shape[0]), _around(columns, side, probability.shape[1])


def _around(part: slice, side: float, size: int) -> slice:
    """Return an interval of a length with the centre of another one, cut at the edges of the region."""
    centre = (part.start + part.stop) / 2
    return slice(max(0, int(centre - side / 2)), min(size, math.ceil(centre + side / 2)))


class RefinedRegion(WholeRegion):
    """Window of a region as one more input of the network.

    Args:
        region: Region.
        first: Output for the whole region.
        window: Slices of the rows and columns of the region.
        preprocessing: Preprocessing of the model.
    """

    def __init__(self, region: WholeRegion, first: RegionOutput, window: Window, preprocessing: Preprocessing) -> None:
        super().__init__(region.source, region.pixels[window], preprocessing)
        self.first, self.window = first, window

    def result(self) -> RegionOutput:
        """Return the output of the region; in the window, its map is the mean of both maps as logits, if their outlines agree."""
        enlarged = super().result().probability
        assert self.first.probability is not None
        assert enlarged is not None
        coarse = self.first.probability[self.window]
        if dice(coarse >= OUTLINED, enlarged >= OUTLINED) < AGREEMENT:
            return self.first
        probability = self.first.probability.copy()
        probability[self.window] = mean_of_logits(coarse, enlarged)
        return self.first._replace(probability=probability)


def refined_region(region: RegionInput, first: RegionOutput, factor: float, preprocessing: Preprocessing) -> RefinedRegion | None:
    """Return the window around the main outline of a region as one more input; None where there is none, or the region is tiled."""
    if not isinstance(region, WholeRegion) or first.probability is None:
        return None
    window = main_window(first.probability, factor)
    return None if window is None else RefinedRegion(region, first, window, preprocessing)


def mean_of_logits(first: Array, second: Array) -> Array:
    """Return the probabilities whose logits are the means of two maps' logits."""
    inside = np.sqrt(first * second)
    outside = np.sqrt((1 - first) * (1 - second))
    mean: Array = inside / np.maximum(inside + outside, np.finfo(np.float32).tiny)
    return mean
