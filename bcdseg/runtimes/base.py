"""Interface of a runtime, the raw output of a network, and class scores of several outputs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

Scores = NDArray[np.float64]


class RawOutput(NamedTuple):
    """Raw output of a network for a batch.

    Attributes:
        mask: Lesion probability of each pixel, batch x height x width; None for a model without a mask.
        classes: Class logits, batch x classes; None for a model without classes.
        members: Class logits of each member or view where there are several, batch x members x classes; None otherwise.
    """

    mask: Array | None
    classes: Array | None
    members: Array | None = None


def to_unit(heatmap: Array) -> Array:
    """Scale a heat map so that its maximum is 1; one without positive values becomes 0."""
    largest = float(heatmap.max())
    return np.clip(heatmap / largest, 0, 1).astype(np.float32) if largest > 0 else np.zeros_like(heatmap, np.float32)


class Runtime(Protocol):
    """Interface for running a network, thread-safe."""

    @property
    def workers(self) -> int:
        """Number of threads that keep the runtime busy."""

    @property
    def has_lost_threads(self) -> bool:
        """Whether it was created before a fork, which hasn't copied threads that it needs."""

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Run a batch of preprocessed scans of one size."""

    def heatmap(self, scan: Array, class_index: int) -> Array:
        """Compute the heat map of a class for one preprocessed scan."""

    def pool(self) -> AbstractContextManager[Executor]:
        """Return a thread pool for a stream of scans."""


@dataclass(frozen=True)
class Calibration:
    """Map from class logits to probabilities: the softmax of logits / temperature + offsets.

    Attributes:
        temperature: Divisor of the logits.
        offsets: Amount that is added to each class after the division; empty for none.
    """

    temperature: float = 1.0
    offsets: tuple[float, ...] = ()

    def scaled(self, logits: Array | Scores) -> Scores:
        """Return the logits after division and offsets, in double precision."""
        scaled: Scores = logits.astype(np.float64) / self.temperature
        return scaled + np.array(self.offsets) if self.offsets else scaled

    def probabilities(self, logits: Array | Scores) -> Scores:
        """Return the probability of each class, over the last axis."""
        scaled = self.scaled(logits)
        powers: Scores = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        powers /= powers.sum(axis=-1, keepdims=True)
        return powers

    def logits(self, logarithms: Scores) -> Scores:
        """Return logits whose probabilities have these logarithms."""
        shifted = logarithms - np.array(self.offsets) if self.offsets else logarithms
        return self.temperature * shifted


class ClassScores(NamedTuple):
    """Class logits of one or several inputs of one scan, with weights.

    Attributes:
        logits: Class logits, inputs x classes.
        weights: Weight of each input; they sum to 1.
        members: Class logits of each member, inputs x members x classes; None where there is only one.
    """

    logits: Array
    weights: Scores
    members: Array | None = None

    def probabilities(self, calibration: Calibration) -> Scores:
        """Return the weighted mean over the inputs of each class's probability."""
        return self.weights @ calibration.probabilities(self.logits)

    def spread(self, calibration: Calibration) -> Scores | None:
        """Return the standard deviation over the members of each class's probability; None without members."""
        if self.members is None:
            return None
        of_members: Scores = np.tensordot(self.weights, calibration.probabilities(self.members), axes=1)
        deviation: Scores = of_members.std(axis=0)
        return deviation

    def averaged_with(self, other: ClassScores) -> ClassScores:
        """Return the combination with other class scores, each with half of the weight."""
        members = None if self.members is None or other.members is None else np.concatenate([self.members, other.members])
        weights = np.concatenate([self.weights, other.weights]) / 2
        return ClassScores(np.concatenate([self.logits, other.logits]), weights, members)


def aggregate(outputs: Sequence[RawOutput], weights: Sequence[float] | None = None) -> ClassScores | None:
    """Return the class scores of raw outputs, equally weighted by default; None without classes or with weights of 0."""
    logits = [output.classes for output in outputs if output.classes is not None]
    relative = np.array(weights if weights is not None else [1.0] * len(outputs))
    if not logits or relative.sum() == 0:
        return None
    members = [output.members for output in outputs if output.members is not None]
    return ClassScores(np.stack(logits), relative / relative.sum(), np.stack(members) if members else None)


def log_mean(logits: Array, calibration: Calibration) -> Array:
    """Return logits whose probabilities are the mean probabilities over the first axis."""
    scaled = calibration.scaled(logits)
    logarithms = scaled - np.logaddexp.reduce(scaled, axis=-1, keepdims=True)
    mean = calibration.logits(np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logits)))
    largest = float(np.finfo(np.float32).max)  # the logarithm of a tiny probability may overflow float32
    bounded: Array = np.clip(mean, -largest, largest).astype(np.float32)
    return bounded
