"""Network inputs and outputs of a region of a scan, processed as a whole or in windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from bcdseg.data.preprocessing import Prepared
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.class_scores import ClassScores, aggregate


class RegionOutput(NamedTuple):
    """Probability map and class scores of one region.

    Attributes:
        probability: Lesion probability of each pixel of the region; None for a model without a mask.
        votes: Class scores of the region; None for a model without classes.
        outlined: Class scores of the windows with outlined pixels, weighted by their number. They get half of the weight where a
            lesion is found. None when there are no windows.
        pixels: Number of pixels that the network processes at once.
        windows: Number of windows that the network has processed; None when it has processed the region as a whole.
    """

    probability: Array | None
    votes: ClassScores | None
    outlined: ClassScores | None
    pixels: float
    windows: int | None


class RegionInput(Protocol):
    """Interface of the network inputs of one region."""

    @property
    def count(self) -> int:
        """Number of inputs."""

    @property
    def prepared(self) -> Prepared:
        """The whole region as one input."""

    def inputs(self) -> Iterator[Array]:
        """Yield the network inputs, which are computed lazily."""

    def take(self, answers: Iterator[RawOutput]) -> RegionOutput:
        """Combine the raw outputs, one per input, to the output of the region."""


@dataclass(frozen=True, eq=False)
class WholeRegion:
    """Region as one input of the network."""

    prepared: Prepared
    pixels: int
    count: ClassVar[int] = 1

    def inputs(self) -> Iterator[Array]:
        """Yield the only input."""
        yield self.prepared.array

    def take(self, answers: Iterator[RawOutput]) -> RegionOutput:
        """Return the output of the region, from the only raw output."""
        answer = next(answers)
        probability = None if answer.mask is None else self.prepared.placement.restore(answer.mask)
        return RegionOutput(probability, aggregate([answer]), None, self.pixels, None)
