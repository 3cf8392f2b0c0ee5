"""Losses summed up over an epoch and over all processes."""

from __future__ import annotations

import torch
from torch import Tensor

from bcdseg.network.losses import Losses
from bcdseg.train.loop.parallel import mean_over_processes

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
