"""Losses and metrics of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcdseg.evaluation.metrics.classification import balanced_accuracy, joint_score
from bcdseg.evaluation.metrics.outline import dice
from bcdseg.networks.network import Output
from bcdseg.training.data.loaders import Batch
from bcdseg.training.loop.distributed import mean_over_processes
from bcdseg.training.losses import NO_LABEL, Losses


@dataclass(frozen=True, kw_only=True)
class ScanMetrics:
    """One scan of the validation part, at the network's size.

    Attributes:
        id: The sample's id.
        label: Index of its true class, None when it is unknown.
        probabilities: Of each class, None from a network without a class head.
        dice: Of the outline at one half against the true mask, None when either doesn't exist. Two empty masks agree: 1.
        truth_area: Pixels of the true mask, None when it is unknown.
        outlined: Whether any pixel is outlined, None from a network without a mask head.
    """

    id: str
    label: int | None = None
    probabilities: NDArray[np.float32] | None = None
    dice: float | None = None
    truth_area: int | None = None
    outlined: bool | None = None


def cases_of(batch: Batch, output: Output) -> Iterator[ScanMetrics]:
    """The scans of a batch, beside what the network made of them."""
    truth = batch.truth
    has_mask, labels, masks = truth.has_mask.tolist(), truth.label.tolist(), _array(truth.mask[:, 0] > 0.5)
    outlines = None if output.mask is None else _array(output.mask[:, 0] > 0)
    probabilities = None if output.classes is None else _array(output.classes.float().softmax(dim=1))
    for row, id in enumerate(batch.ids):
        yield ScanMetrics(
            id=id,
            label=None if labels[row] == NO_LABEL else labels[row],
            probabilities=None if probabilities is None else probabilities[row],
            dice=dice(outlines[row], masks[row]) if outlines is not None and has_mask[row] else None,
            truth_area=int(masks[row].sum()) if has_mask[row] else None,
            outlined=None if outlines is None else bool(outlines[row].any()),
        )


def measures(cases: Sequence[ScanMetrics]) -> dict[str, float]:
    """The measures of a validation pass; what can't be measured is left out.

    ``val_dice`` is the mean over the scans with a lesion, ``val_clean`` the share of the scans without one in which nothing is
    outlined, ``val_balanced_accuracy`` the mean over the classes of the share called right, and ``joint`` what
    ``bcdseg.evaluation.metrics.classification.joint_score`` makes of the three.
    """
    outlined = [case for case in cases if case.dice is not None]
    lesion_dice = [case.dice for case in outlined if case.truth_area and case.dice is not None]
    clean = [not case.outlined for case in outlined if not case.truth_area]
    called = [(case.probabilities, case.label) for case in cases if case.probabilities is not None and case.label is not None]
    accuracy = balanced_accuracy(np.stack([p for p, _ in called]), [label for _, label in called]) if called else None
    found = {
        "val_dice": float(np.mean(lesion_dice)) if lesion_dice else None,
        "val_clean": float(np.mean(clean)) if clean else None,
        "val_balanced_accuracy": accuracy,
        "joint": joint_score(lesion_dice=lesion_dice, normal_clean=clean, balanced_accuracy=accuracy),
    }
    return {name: value for name, value in found.items() if value is not None}


def _array(tensor: Tensor) -> NDArray[np.generic]:
    return np.asarray(tensor.cpu())


NAMES = ("mask_loss", "class_loss")


class Tally:
    """The mean loss of each task over its known scans, whatever the batches and processes that they came in.

    The joint loss divides its sums by how many scans have a mask and a label; it asks for those numbers here, so they are known.
    """

    def __init__(self) -> None:
        self._total = self._sums = self._known = torch.zeros(())
        self._batches = 0
        self._shared = torch.zeros(2)

    def share_among_processes(self, counts: Tensor) -> Tensor:
        """The processes' mean, so that the gradients that they average are those that one process would have."""
        self._known = self._known.to(counts.device) + counts
        self._shared = mean_over_processes(counts)
        return self._shared

    def share_alone(self, counts: Tensor) -> Tensor:
        """The process's own number: there are no gradients, and processes may have unequally many batches."""
        self._known = self._known.to(counts.device) + counts
        self._shared = counts
        return counts

    def add(self, losses: Losses) -> None:
        """Count a batch for which the joint loss has just asked."""
        parts = [torch.zeros_like(losses.total) if part is None else part.detach() for part in (losses.mask, losses.classes)]
        self._sums = self._sums.to(losses.total.device) + torch.stack(parts) * self._shared
        self._total = self._total.to(losses.total.device) + losses.total.detach()
        self._batches += 1

    def so_far(self) -> dict[str, float]:
        """The two means of this process alone; it waits for the device."""
        means = (self._sums / self._known).expand(2).tolist()
        return {name: value for name, value in zip(NAMES, means, strict=True) if value == value}

    def means(self) -> dict[str, float]:
        """``loss``, ``mask_loss`` and ``class_loss``; a task of which nothing was known is left out. Each process must ask."""
        sums = mean_over_processes(self._sums.expand(2)) / mean_over_processes(self._known.expand(2))
        total = mean_over_processes(self._total / max(1, self._batches))
        found = {"loss": total, **dict(zip(NAMES, sums, strict=True))}
        return {name: float(value) for name, value in found.items() if value == value}
