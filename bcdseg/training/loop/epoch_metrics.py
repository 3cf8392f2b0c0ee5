"""Losses and metrics of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcdseg.data.masks import dice
from bcdseg.evaluation.metrics.classification import balanced_accuracy, joint_score
from bcdseg.networks.network import Output
from bcdseg.training.data.loaders import Batch
from bcdseg.training.loop.processes import mean_over_processes
from bcdseg.training.losses import NO_LABEL, Losses


@dataclass(frozen=True, kw_only=True)
class ScanMetrics:
    """Validation result of one scan, at the network's size.

    Attributes:
        id: Id of the sample.
        label: Index of its true class, None when it is unknown.
        probabilities: Probability of each class, None from a network without a class head.
        dice: Dice of the mask at threshold 0.5 against the true mask, None when either doesn't exist; 1 for two empty masks.
        truth_area: Pixels of the true mask, None when it is unknown.
        outlined: Whether any pixel is segmented, None from a network without a mask head.
    """

    id: str
    label: int | None = None
    probabilities: NDArray[np.float32] | None = None
    dice: float | None = None
    truth_area: int | None = None
    outlined: bool | None = None


def scan_metrics(batch: Batch, output: Output) -> Iterator[ScanMetrics]:
    """Yield the validation result of each scan of a batch."""
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


Results = Sequence[ScanMetrics]


def lesion_dice(results: Results) -> float | None:
    """Return the mean Dice over the scans with a lesion; None when there are none."""
    values = _dice_of_lesions(results)
    return float(np.mean(values)) if values else None


def clean_fraction(results: Results) -> float | None:
    """Return the fraction of the scans without a lesion in which nothing is segmented; None when there are none."""
    values = _clean(results)
    return float(np.mean(values)) if values else None


def mean_recall(results: Results) -> float | None:
    """Return the balanced accuracy of the classes; None when no label is known."""
    known = [(one.label, one.probabilities) for one in results if one.label is not None and one.probabilities is not None]
    if not known:
        return None
    return balanced_accuracy([label for label, _ in known], np.stack([probabilities for _, probabilities in known]))


def joint(results: Results) -> float | None:
    """Return ``bcdseg.evaluation.metrics.classification.joint_score`` of the three."""
    return joint_score(lesion_dice=_dice_of_lesions(results), normal_clean=_clean(results), balanced_accuracy=mean_recall(results))


VALIDATION_METRICS: dict[str, Callable[[Results], float | None]] = {
    "val_dice": lesion_dice,
    "val_clean": clean_fraction,
    "val_balanced_accuracy": mean_recall,
    "joint": joint,
}
"""Metrics of a validation pass by the name of their column; one that is undefined returns None."""


def _dice_of_lesions(results: Results) -> list[float]:
    return [one.dice for one in results if one.dice is not None and one.truth_area]


def _clean(results: Results) -> list[bool]:
    return [not one.outlined for one in results if one.dice is not None and not one.truth_area]


def _array(tensor: Tensor) -> NDArray[np.generic]:
    return np.asarray(tensor.cpu())


NAMES = ("mask_loss", "class_loss")


class LossMeter:
    """Meter of the mean loss of each task over its known scans, independent of how they are divided into batches and processes.

    The joint loss divides its sums by the number of scans with a mask and with a label; it requests those numbers here.
    """

    def __init__(self) -> None:
        self._total = self._sums = self._known = torch.zeros(())
        self._batches = 0
        self._shared = torch.zeros(2)

    def share_among_processes(self, counts: Tensor) -> Tensor:
        """Return the mean over the processes, so that averaged gradients are those that a single process would have."""
        self._known = self._known.to(counts.device) + counts
        self._shared = mean_over_processes(counts)
        return self._shared

    def share_alone(self, counts: Tensor) -> Tensor:
        """Return the process's own number: there are no gradients, and processes may have unequal numbers of batches."""
        self._known = self._known.to(counts.device) + counts
        self._shared = counts
        return counts

    def add(self, losses: Losses) -> None:
        """Add the losses of a batch whose counts the joint loss has just requested; other losses request none."""
        device = losses.total.device
        self._known, self._shared = self._known.to(device), self._shared.to(device)
        parts = [torch.zeros_like(losses.total) if part is None else part.detach() for part in (losses.mask, losses.classes)]
        self._sums = self._sums.to(device) + torch.stack(parts) * self._shared
        self._total = self._total.to(device) + losses.total.detach()
        self._batches += 1

    def so_far(self) -> dict[str, float]:
        """Return the two running means of this process alone; this waits for the device."""
        means = (self._sums / self._known).expand(2).tolist()
        return {name: value for name, value in zip(NAMES, means, strict=True) if value == value}

    def means(self) -> dict[str, float]:
        """Return ``loss``, ``mask_loss`` and ``class_loss``, or those with ground truth. All processes must call this."""
        sums = mean_over_processes(self._sums.expand(2)) / mean_over_processes(self._known.expand(2))
        total = mean_over_processes(self._total / max(1, self._batches))
        found = {"loss": total, **dict(zip(NAMES, sums, strict=True))}
        return {name: float(value) for name, value in found.items() if value == value}
