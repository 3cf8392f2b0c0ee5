"""Network inputs of a region of a scan, and the accumulation of their outputs."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from bcdseg.data.preprocessing import Prepared, Preprocessing
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.class_scores import ClassScores, aggregate
from bcdseg.types import Pixels


class RegionOutput(NamedTuple):
    """Probability map and class scores of one region.

    Attributes:
        probability: Lesion probability of each pixel of the region; None for a model without a mask.
        scores: Class scores of the region; None for a model without classes.
        outlined_scores: Class scores of the windows with outlined pixels, weighted by their number. They get half of the weight
            where a lesion is found. None when there are no windows.
        pixels: Number of pixels that the network processes at once.
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
        self.pixels = pixels.shape[0] * pixels.shape[1]
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
        return RegionOutput(probability, aggregate([output]), None, self.pixels, None)
