"""Class scores of several inputs of one scan, and their aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.runtimes.base import Array, RawOutput

Numbers = NDArray[np.float64]


class ClassScores(NamedTuple):
    """Class logits of several looks at one scan.

    Attributes:
        logits: Looks x classes.
        weights: How much each look counts; together 1.
        members: Where several were asked at each look: looks x members x classes.
    """

    logits: Array
    weights: Numbers
    members: Array | None = None

    def probabilities(self, temperature: float) -> Numbers:
        """Of each class: the weighted mean of the looks' probabilities."""
        return self.weights @ softmax(self.logits, temperature)

    def spread(self, temperature: float) -> Numbers | None:
        """Of each class: the standard deviation of what the members say; None where only one was asked."""
        if self.members is None:
            return None
        each: Numbers = np.tensordot(self.weights, softmax(self.members, temperature), axes=1)
        apart: Numbers = each.std(axis=0)
        return apart

    def and_half(self, other: ClassScores) -> ClassScores:
        """Both together, each with half of the weight."""
        members = None if self.members is None or other.members is None else np.concatenate([self.members, other.members])
        weights = np.concatenate([self.weights, other.weights]) / 2
        return ClassScores(np.concatenate([self.logits, other.logits]), weights, members)


def aggregate(answers: Sequence[RawOutput], weights: Sequence[float] | None = None) -> ClassScores | None:
    """The votes of the answers of single looks, alike where no weights are given; None where none has a say."""
    logits = [answer.classes for answer in answers if answer.classes is not None]
    shares = np.array(weights if weights is not None else [1.0] * len(answers))
    if not logits or shares.sum() == 0:
        return None
    members = [answer.members for answer in answers if answer.members is not None]
    return ClassScores(np.stack(logits), shares / shares.sum(), np.stack(members) if members else None)


def softmax(logits: Array, temperature: float) -> Numbers:
    """Probabilities of logits, over the last axis."""
    scaled = logits.astype(np.float64) / temperature
    powers: Numbers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def log_mean(logits: Array, temperature: float) -> Array:
    """Logits of which the probabilities are the means of those of many, over the first axis."""
    scaled = logits.astype(np.float64) / temperature
    logarithms = scaled - np.logaddexp.reduce(scaled, axis=-1, keepdims=True)
    together = temperature * (np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logits)))
    largest = float(np.finfo(np.float32).max)  # a class may be less probable than the logarithms of 32 bits can say
    bounded: Array = np.clip(together, -largest, largest).astype(np.float32)
    return bounded
