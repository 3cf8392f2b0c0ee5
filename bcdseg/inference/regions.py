"""Inputs and outputs of a scan region: as a whole or as windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from bcdseg.data.preprocessing import Prepared
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.class_scores import ClassScores, aggregate


class RegionOutput(NamedTuple):
    """What came of an area.

    Attributes:
        probability: Of 'lesion here' at each of its pixels; None for a model without a mask.
        votes: For the classes; None for a model without.
        outlined: Votes of the windows that outline something, each by how much. They have half of the say where a lesion is
            found. None where there are no windows.
        pixels: How many pixels the network saw at once.
        windows: How many windows went through the network; None where it saw the whole.
    """

    probability: Array | None
    votes: ClassScores | None
    outlined: ClassScores | None
    pixels: float
    windows: int | None


class RegionInput(Protocol):
    """What the network is shown of an area."""

    @property
    def count(self) -> int:
        """How many inputs it has."""

    @property
    def prepared(self) -> Prepared:
        """The whole area as an input."""

    def inputs(self) -> Iterator[Array]:
        """For the network, made as they are asked for."""

    def take(self, answers: Iterator[RawOutput]) -> RegionOutput:
        """What came of it, from an answer for each input."""


@dataclass(frozen=True, eq=False)
class WholeRegion:
    """An area as one input of the network."""

    prepared: Prepared
    pixels: int
    count: ClassVar[int] = 1

    def inputs(self) -> Iterator[Array]:
        """See ``Look``."""
        yield self.prepared.array

    def take(self, answers: Iterator[RawOutput]) -> RegionOutput:
        """See ``Look``."""
        answer = next(answers)
        probability = None if answer.mask is None else self.prepared.placement.restore(answer.mask)
        return RegionOutput(probability, aggregate([answer]), None, self.pixels, None)
