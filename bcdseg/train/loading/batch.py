"""What the loaders hand to the training step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bcdseg.network.losses import Truth


@dataclass(frozen=True)
class Batch:
    """Scans that go through the network together, and what is known of them.

    Attributes:
        image: Preprocessed scans, batch x channels x height x width, float32.
        truth: Masks and labels. Labels may also be soft (batch x classes, after MixUp); see ``Truth``.
        ids: Ids of the samples, for messages and for putting scans of several processes together.
    """

    image: Tensor
    truth: Truth
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """The batch on another device."""
        truth = replace(
            self.truth, **{name: value.to(device, non_blocking=non_blocking) for name, value in vars(self.truth).items()}
        )
        return Batch(self.image.to(device, non_blocking=non_blocking), truth, self.ids)

    def pin_memory(self) -> Batch:
        """Called by the loader, for asynchronous copies to a GPU."""
        truth = replace(self.truth, **{name: value.pin_memory() for name, value in vars(self.truth).items()})
        return Batch(self.image.pin_memory(), truth, self.ids)
