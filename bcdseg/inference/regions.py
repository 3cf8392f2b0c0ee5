"""Regions of a scan: their network inputs, and maps of the outputs, memory-mapped where they are too large for memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.data.preprocessing import Prepared, Preprocessing
from bcdseg.errors import OutputError
from bcdseg.runtimes.base import Array, ClassScores, RawOutput, aggregate
from bcdseg.types import Area, Mask, Pixels

IN_MEMORY = 32_000_000  # pixels of the largest map that is kept in memory
BAND = 4_000_000  # pixels that are processed together


class RegionOutput(NamedTuple):
    """Probability map and class scores of one region.

    Attributes:
        probability: Lesion probability of each pixel of the region; None for a model without a mask.
        scores: Class scores of the region; None for a model without classes.
        outlined_scores: Class scores of the windows with outlined pixels, weighted by their number. They get half of the weight
            where a lesion is found. None when there are no windows.
        pixels: Number of pixels of one network input.
        windows: Number of windows that the network has processed; None when it has processed the region as a whole.
    """

    probability: Array | None
    scores: ClassScores | None
    outlined_scores: ClassScores | None
    pixels: float
    windows: int | None


class RegionInput(Protocol):
    """Interface of one region: its network inputs, and the accumulation of their raw outputs in the same order.

    Inputs are computed one at a time and outputs are added one at a time, so that a region never needs the memory of all its
    windows.

    Attributes:
        source: Name of the scan.
        count: Number of inputs.
        shape: Shape of each input, channels x height x width.
        prepared: The whole region as one input.
    """

    source: str
    count: int
    shape: tuple[int, ...]

    @property
    def prepared(self) -> Prepared: ...  # noqa: D102 - an attribute

    def input(self, index: int) -> Array:
        """Return one of the inputs."""

    def add(self, output: RawOutput) -> None:
        """Add the raw output of the next input."""

    def result(self) -> RegionOutput:
        """Return the output of the region, after the outputs of all inputs were added."""


class WholeRegion:
    """Region as one input of the network."""

    count = 1

    def __init__(self, source: str, pixels: Pixels, preprocessing: Preprocessing) -> None:
        self.source = source
        self.pixels = pixels
        self.prepared = preprocessing(pixels)
        self.shape = self.prepared.array.shape
        self._outputs: list[RawOutput] = []

    def input(self, index: int) -> Array:  # noqa: ARG002 - there is one
        """Return the only input."""
        return self.prepared.array

    def add(self, output: RawOutput) -> None:
        """Store the only raw output."""
        self._outputs.append(output)

    def result(self) -> RegionOutput:
        """Return the output of the region, with the map at the region's own size."""
        (output,) = self._outputs
        probability = None if output.mask is None else self.prepared.placement.restore(output.mask)
        return RegionOutput(probability, aggregate([output]), None, self.pixels.shape[0] * self.pixels.shape[1], None)


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
