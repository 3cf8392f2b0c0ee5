"""MixUp and CutMix of scans, masks and labels.

Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018; Yun et al., CutMix, ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from bcdseg.training.data.sampling import BLEND, PAIRS, Pairing, stream
from bcdseg.training.losses import Truth, soft_labels

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


def _box(size: Sequence[int], share: float, random: np.random.Generator) -> tuple[slice, slice, float]:
    """Return a box of ``1 - share`` of the area around a random centre, clipped at the edges, and the fraction outside of it."""
    sides = []
    for length in size:
        half, centre = length * np.sqrt(1 - share) / 2, random.uniform(0, length)
        sides.append(slice(max(0, round(centre - half)), min(length, round(centre + half))))
    area = (sides[0].stop - sides[0].start) * (sides[1].stop - sides[1].start)
    return sides[0], sides[1], 1 - area / (size[0] * size[1])
