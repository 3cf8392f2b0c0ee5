"""The joint loss. Supervision is per sample: a scan may lack its mask, its label, or neither."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.network.network import Output

NO_LABEL = -1


@dataclass(frozen=True)
class Truth:
    """What is known of a batch.

    Attributes:
        mask: 0/1 masks, batch x 1 x height x width; any values where ``has_mask`` is False.
        has_mask: Which scans have a mask. A scan known to be normal has one: the empty one.
        label: Class of each scan, ``NO_LABEL`` where it is unknown.
    """

    mask: Tensor
    has_mask: Tensor
    label: Tensor


class JointLoss(nn.Module):
    """Pixel cross entropy on every known mask, Dice on every known lesion, cross entropy on every known label.

    An empty mask has no Dice worth the name: it is trained by the pixel term alone. A missing mask or label adds nothing.
    """

    class_weights: Tensor | None

    def __init__(self, *, class_weight: float = 0.5, label_smoothing: float = 0.05, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights)
        self.dice = DiceLoss(sigmoid=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)

    def forward(self, output: Output, truth: Truth) -> Tensor:
        """The loss of a batch."""
        total = torch.zeros((), device=truth.label.device)
        if output.mask is not None:
            total = total + self.mask_loss(output.mask, truth)
        if output.classes is not None:
            total = total + self.class_weight * self.class_loss(output.classes, truth)
        return total

    def mask_loss(self, logits: Tensor, truth: Truth) -> Tensor:
        """Mean over the scans that have a mask; zero when none has."""
        known = truth.has_mask
        logits, mask = logits[known].float(), truth.mask[known].float()
        if len(mask) == 0:
            return logits.sum()
        pixels = F.binary_cross_entropy_with_logits(logits, mask, reduction="none").mean(dim=(1, 2, 3))
        dice = self.dice(logits, mask).flatten(1).mean(dim=1)
        lesion = mask.flatten(1).any(dim=1)
        return (pixels + torch.where(lesion, dice, torch.zeros_like(dice))).mean()

    def class_loss(self, logits: Tensor, truth: Truth) -> Tensor:
        """Mean over the scans that have a label; zero when none has."""
        known = truth.label != NO_LABEL
        if not bool(known.any()):
            return logits.sum() * 0
        return F.cross_entropy(
            logits[known].float(),
            truth.label[known],
            weight=self.class_weights,
            label_smoothing=self.label_smoothing,
        )
