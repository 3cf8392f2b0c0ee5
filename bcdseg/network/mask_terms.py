"""What a predicted mask costs against the true one, scan by scan. The terms are MONAI's.

Each is a pixel term, over the whole scan, and an overlap term that only scans with a lesion have: Dice of an empty mask is
either nothing or noise. Masks may be soft (after MixUp); the overlap is then the soft-label form of Wang et al. (2023).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.losses import DiceLoss, FocalLoss, LogHausdorffDTLoss, TverskyLoss
from torch import Tensor, nn
from torch.nn import functional as F

MISSED, INVENTED = 0.7, 0.3
"""What missed and invented pixels cost in the Tversky loss (Salehi et al. 2017)."""
BOUNDARY = 0.1
"""Weight of the boundary beside cross entropy and Dice; the distances make it several times as large as those."""


class MaskTerm(nn.Module):
    """Logits and masks, batch x 1 x height x width, to one number a scan."""

    def __init__(self, pixels: Callable[[Tensor, Tensor], Tensor], *overlaps: tuple[float, nn.Module]) -> None:
        super().__init__()
        self.pixels = pixels
        self.weights = [weight for weight, _ in overlaps]
        self.overlaps = nn.ModuleList(term for _, term in overlaps)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The cost of each scan."""
        lesion = mask.flatten(1).any(dim=1)
        cost = self.pixels(logits, mask).flatten(1).mean(dim=1)
        for weight, term in zip(self.weights, self.overlaps, strict=True):
            cost = cost + weight * torch.where(lesion, term(logits, mask).flatten(1).mean(dim=1), 0.0)
        return cost


def _cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, mask, reduction="none")


def _dice() -> tuple[float, nn.Module]:
    return 1.0, DiceLoss(sigmoid=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0, soft_label=True)


def _tversky() -> tuple[float, nn.Module]:
    options = {"alpha": INVENTED, "beta": MISSED, "smooth_nr": 1.0, "smooth_dr": 1.0}
    return 1.0, TverskyLoss(sigmoid=True, reduction="none", soft_label=True, **options)


def _boundary() -> tuple[float, nn.Module]:
    return BOUNDARY, LogHausdorffDTLoss(include_background=True, sigmoid=True, reduction="none")


MASK_TERMS: dict[str, Callable[[], MaskTerm]] = {
    "dice_ce": lambda: MaskTerm(_cross_entropy, _dice()),
    "dice_focal": lambda: MaskTerm(FocalLoss(reduction="none"), _dice()),
    "tversky": lambda: MaskTerm(_cross_entropy, _tversky()),
    "hausdorff": lambda: MaskTerm(_cross_entropy, _dice(), _boundary()),
}
