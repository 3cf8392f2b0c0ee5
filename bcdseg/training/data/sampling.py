"""Sampling of scans by seed, epoch and position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from bcdseg.data.dataset import Dataset
from bcdseg.training.losses import NO_LABEL

ORDER, PAIRS, BLEND = range(3)
"""Uses of random numbers; each has its own stream."""

Order = Callable[[int], NDArray[np.int64]]
Pairing = Callable[[int, int, Sequence[int]], Sequence[int] | None]


class Draw(NamedTuple):
    """Scan at a position of an epoch.

    Attributes:
        sample: Index of the sample in the data set.
        place: Position in the epoch, over all processes; it seeds the augmentation.
    """

    sample: int
    place: int


class SampledStep(NamedTuple):
    """Scans of one process in one step.

    Attributes:
        epoch: Index of the epoch.
        number: Index of the step in the epoch.
        draws: The scans.
        partners: Mixing partner of each scan; None when the step is not mixed.
    """

    epoch: int
    number: int
    draws: tuple[Draw, ...]
    partners: tuple[Draw, ...] | None = None


class Batches(Sampler[SampledStep]):
    """Batch sampler of the training steps of an epoch.

    The last scans that don't fill a batch are dropped, unless there are no others. Each process has every ``world``-th scan of a
    batch, starting at its rank: together they have the batch that a single process would have.

    Attributes:
        epoch: Epoch that is drawn when iteration starts.
    """

    def __init__(self, order: Order, count: int, batch_size: int, *, world: int, rank: int, pairing: Pairing | None) -> None:
        self.order = order
        self.count = count
        self.batch_size = min(batch_size, count)
        self.mine = slice(rank, None, world)
        self.pairing = pairing
        self.epoch = 0

    def __len__(self) -> int:
        return self.count // self.batch_size

    def __iter__(self) -> Iterator[SampledStep]:
        epoch, order = self.epoch, self.order(self.epoch)
        for number in range(len(self)):
            places = range(number * self.batch_size, (number + 1) * self.batch_size)
            draws = [Draw(int(order[place]), place) for place in places]
            others = self.pairing(epoch, number, [draw.sample for draw in draws]) if self.pairing else None
            partners = None if others is None else tuple([draws[other] for other in others][self.mine])
            yield SampledStep(epoch, number, tuple(draws[self.mine]), partners)


def in_order(count: int, batch_size: int, *, world: int, rank: int) -> list[SampledStep]:
    """Return steps with each scan once over all processes, in batches of at most a process's part of ``batch_size``."""
    mine, size = range(rank, count, world), -(-batch_size // world)
    return [SampledStep(0, at // size, tuple(Draw(i, i) for i in mine[at : at + size])) for at in range(0, len(mine), size)]


def shuffled(count: int, seed: int) -> Order:
    """Return the order that draws each scan once per epoch, shuffled."""
    return lambda epoch: stream(seed, ORDER, epoch).permutation(count)


def balanced(labels: Sequence[int], seed: int) -> Order:
    """Return the order that draws each class equally often, in as many draws per epoch as there are scans.

    Scans without a label keep their fraction. The scans of a class are drawn in turn: none is drawn twice before all of its class
    were drawn once.
    """
    known = np.asarray(labels)
    members = [np.flatnonzero(known == label) for label in np.unique(known)]
    counts = _equal_counts([NO_LABEL in known[of_class] for of_class in members], [len(of_class) for of_class in members])

    def order(epoch: int) -> NDArray[np.int64]:
        random = stream(seed, ORDER, epoch)
        drawn = [_in_turn(of_class, count, random) for of_class, count in zip(members, counts, strict=True)]
        return random.permutation(np.concatenate(drawn))

    return order


def class_weights(dataset: Dataset, classes: Sequence[str]) -> Tensor:
    """Return the square root of the mean class count over each class's count; 1 for a class without scans."""
    labels = [sample.label for sample in dataset]
    counts = torch.tensor([labels.count(name) for name in classes], dtype=torch.float32)
    there = counts > 0
    mean = counts[there].mean() if bool(there.any()) else counts.new_ones(())
    return torch.where(there, mean / counts.clamp(min=1), 1.0).sqrt()


def stream(seed: int, use: int, *at: int) -> np.random.Generator:
    """Return the random generator of one use at one epoch and position."""
    return np.random.default_rng((seed, use, *at))


def _equal_counts(unlabelled: Sequence[bool], sizes: Sequence[int]) -> list[int]:
    """Return how often each class is drawn; the sum is that of the sizes."""
    labelled = sum(size for size, unknown in zip(sizes, unlabelled, strict=True) if not unknown)
    classes = sum(not unknown for unknown in unlabelled)
    counts, given = [], 0
    for size, unknown in zip(sizes, unlabelled, strict=True):
        counts.append(size if unknown else labelled // classes + (given < labelled % classes))
        given += not unknown
    return counts


def _in_turn(members: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    rounds = -(-count // len(members))
    return np.concatenate([random.permutation(members) for _ in range(rounds)])[:count]
