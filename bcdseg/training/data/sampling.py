"""Sampling and mixing of scans by seed, epoch and position.

MixUp: Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018. CutMix: Yun et al., CutMix, ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from bcdseg.data.dataset import Dataset
from bcdseg.training.losses import NO_LABEL, Truth, soft_labels

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

    Scans without a label keep their fraction. No scan of a class is drawn twice before all scans of its class were
    drawn once.
    """
    known = np.asarray(labels)
    members = [np.flatnonzero(known == label) for label in np.unique(known)]
    counts = _equal_counts([NO_LABEL in known[of_class] for of_class in members], [len(of_class) for of_class in members])

    def order(epoch: int) -> NDArray[np.int64]:
        random = stream(seed, ORDER, epoch)
        drawn = [_repeated(of_class, count, random) for of_class, count in zip(members, counts, strict=True)]
        return random.permutation(np.concatenate(drawn))

    return order


def class_weights(dataset: Dataset, classes: Sequence[str]) -> Tensor:
    """Return the square root of the mean class count over each class's count; 1 for a class without scans."""
    labels = [sample.label for sample in dataset]
    counts = torch.tensor([labels.count(name) for name in classes], dtype=torch.float32)
    known = counts > 0
    mean = counts[known].mean() if bool(known.any()) else counts.new_ones(())
    return torch.where(known, mean / counts.clamp(min=1), 1.0).sqrt()


def stream(seed: int, use: int, *at: int) -> np.random.Generator:
    """Return the random generator of one use at one epoch and position."""
    return np.random.default_rng((seed, use, *at))


SPREAD = {"mixup": 0.4, "cutmix": 1.0}
"""Parameter of the Beta distribution of the mixing coefficient, as in the two papers."""


def pairing(known: Sequence[Any], *, share: float, seed: int) -> Pairing:
    """Return the function that pairs scans for mixing, in a fraction ``share`` of the steps.

    A scan is mixed only with one that has the same ground truth (mask, label, or both): mixing known with unknown would lose the
    known. A scan without such a partner is not mixed.

    Args:
        known: Which ground truth each sample has, as any hashable and sortable value.
        share: Fraction from 0 to 1.
        seed: Seed of the run.
    """

    def partners(epoch: int, number: int, indices: Sequence[int]) -> list[int] | None:
        random = stream(seed, PAIRS, epoch, number)
        if random.random() >= share:
            return None
        found = list(range(len(indices)))
        for kind in sorted({known[index] for index in indices}):
            members = [at for at, index in enumerate(indices) if known[index] == kind]
            for member, other in zip(members, random.permutation(members), strict=True):
                found[member] = int(other)
        return found

    return partners


def mixed(
    how: str, one: tuple[Tensor, Truth], other: tuple[Tensor, Truth], classes: int, *, seed: int, at: tuple[int, int]
) -> tuple[Tensor, Truth]:
    """Return two batches of equal length mixed, scan by scan; masks are blended and thus soft (``mixup``) or pasted (``cutmix``).

    Args:
        how: ``"mixup"`` or ``"cutmix"``.
        one: Images and their ground truth.
        other: Partner of each of them.
        classes: Number of classes.
        seed: Seed of the run.
        at: Epoch and step; all processes mix a step in the same way.
    """
    random = stream(seed, BLEND, *at)
    share = float(random.beta(SPREAD[how], SPREAD[how]))
    (image, truth), (other_image, other_truth) = one, other
    if how == "mixup":
        image = share * image + (1 - share) * other_image
        mask = share * truth.mask + (1 - share) * other_truth.mask
    else:
        rows, columns, share = _box(image.shape[2:], share, random)
        image, mask = image.clone(), truth.mask.clone()
        image[..., rows, columns] = other_image[..., rows, columns]
        mask[..., rows, columns] = other_truth.mask[..., rows, columns]
    label = share * soft_labels(truth.label, classes) + (1 - share) * soft_labels(other_truth.label, classes)
    return image, Truth(mask, truth.has_mask, label)


def _equal_counts(unlabelled: Sequence[bool], sizes: Sequence[int]) -> list[int]:
    """Return how often each class is drawn; the sum is that of the sizes."""
    labelled = sum(size for size, unknown in zip(sizes, unlabelled, strict=True) if not unknown)
    classes = sum(not unknown for unknown in unlabelled)
    counts, given = [], 0
    for size, unknown in zip(sizes, unlabelled, strict=True):
        counts.append(size if unknown else labelled // classes + (given < labelled % classes))
        given += not unknown
    return counts


def _repeated(members: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    rounds = -(-count // len(members))
    return np.concatenate([random.permutation(members) for _ in range(rounds)])[:count]


def _box(size: Sequence[int], share: float, random: np.random.Generator) -> tuple[slice, slice, float]:
    """Return a box of ``1 - share`` of the area around a random centre, clipped at the edges, and the fraction outside of it."""
    sides = []
    for length in size:
        half, centre = length * np.sqrt(1 - share) / 2, random.uniform(0, length)
        sides.append(slice(max(0, round(centre - half)), min(length, round(centre + half))))
    area = (sides[0].stop - sides[0].start) * (sides[1].stop - sides[1].start)
    return sides[0], sides[1], 1 - area / (size[0] * size[1])
