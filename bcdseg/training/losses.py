"""Joint loss of masks and classes.

A mask loss is a pixel term over the whole scan, and an overlap term for scans with a lesion only: Dice of an empty mask is
either zero or noise. Masks may be soft (after MixUp); the overlap is then the soft-label form of Wang et al. (2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from monai.losses import DiceLoss, FocalLoss, LogHausdorffDTLoss, TverskyLoss
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.errors import OptionError
from bcdseg.messages import check_choice
from bcdseg.networks.network import Output
from bcdseg.registry import CLASS_LOSSES, MASK_LOSSES

FALSE_NEGATIVE, FALSE_POSITIVE = 0.7, 0.3
"""Weights of false-negative and false-positive pixels in the Tversky loss (Salehi et al. 2017)."""
BOUNDARY = 0.1
"""Weight of the boundary term relative to cross entropy and Dice; the distances make it several times as large as those."""


class MaskTerm(nn.Module):
    """Mask loss of each scan, from logits and masks of batch x 1 x height x width."""

    def __init__(self, pixels: Callable[[Tensor, Tensor], Tensor], *overlaps: tuple[float, nn.Module]) -> None:
        super().__init__()
        self.pixels = pixels
        self.weights = [weight for weight, _ in overlaps]
        self.overlaps = nn.ModuleList(term for _, term in overlaps)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the loss of each scan."""
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
    options = {"alpha": FALSE_POSITIVE, "beta": FALSE_NEGATIVE, "smooth_nr": 1.0, "smooth_dr": 1.0}
    return 1.0, TverskyLoss(sigmoid=True, reduction="none", soft_label=True, **options)


def _boundary() -> tuple[float, nn.Module]:
    return BOUNDARY, LogHausdorffDTLoss(include_background=True, sigmoid=True, reduction="none")


@MASK_LOSSES.register("dice_ce")
class DiceCrossEntropy(MaskTerm):
    """Cross entropy plus Dice."""

    def __init__(self) -> None:
        super().__init__(_cross_entropy, _dice())


@MASK_LOSSES.register("dice_focal")
class DiceFocal(MaskTerm):
    """Focal loss plus Dice."""

    def __init__(self) -> None:
        super().__init__(FocalLoss(reduction="none"), _dice())


@MASK_LOSSES.register("tversky")
class CrossEntropyTversky(MaskTerm):
    """Cross entropy plus Tversky loss."""

    def __init__(self) -> None:
        super().__init__(_cross_entropy, _tversky())


@MASK_LOSSES.register("hausdorff")
class DiceHausdorff(MaskTerm):
    """Cross entropy plus Dice plus the Hausdorff distance."""

    def __init__(self) -> None:
        super().__init__(_cross_entropy, _dice(), _boundary())


class ClassTerm(nn.Module):
    """Cross entropy of each scan and class, from logits and target fractions of batch x classes.

    Args:
        focus: Exponent that emphasises misclassified scans (Lin et al., Focal loss, 2017); 0 is plain cross entropy.
    """

    def __init__(self, focus: float) -> None:
        super().__init__()
        self.focus = focus

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each scan and class."""
        log_probability = F.log_softmax(logits, dim=1)
        if self.focus:
            log_probability = log_probability * (1 - log_probability.exp()) ** self.focus
        return -target * log_probability


@CLASS_LOSSES.register("ce")
class CrossEntropy(ClassTerm):
    """Cross entropy."""

    def __init__(self) -> None:
        super().__init__(focus=0.0)


@CLASS_LOSSES.register("focal")
class Focal(ClassTerm):
    """Focal loss."""

    def __init__(self) -> None:
        super().__init__(focus=2.0)


NO_LABEL = -1
TASK_WEIGHTS = ("fixed", "learned")
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Truth:
    """Ground truth of a batch.

    Attributes:
        mask: Masks from 0 to 1, batch x 1 x height x width; any values where ``has_mask`` is False.
        has_mask: Whether each scan has a mask. A scan known to be normal has an empty one.
        label: Class of each scan, ``NO_LABEL`` where it is unknown. Or soft, batch x classes: fractions that sum to 1,
            all zero where the label is unknown.
    """

    mask: Tensor
    has_mask: Tensor
    label: Tensor


class Losses(NamedTuple):
    """Loss of a batch and its parts.

    Attributes:
        total: Loss that is minimised.
        mask: Mean over the scans whose mask is known, zero when none is; None when the network has no mask head.
        classes: Mean over the scans whose label is known, zero when none is; None when the network has no class head.
    """

    total: Tensor
    mask: Tensor | None
    classes: Tensor | None


class JointLoss(nn.Module):
    """Mask loss on every known mask plus class loss on every known label; missing ground truth adds nothing.

    The overlap of an empty mask is not meaningful: such a mask is trained by the pixel term alone, see ``MaskTerm``.

    Args:
        mask_loss: ``dice_ce``, ``dice_focal``, ``tversky``, ``hausdorff``, a registered name, or a function or module from mask
            logits and masks (scans x 1 x height x width) to the loss of each scan, or to their mean. It gets the scans with a mask.
        class_loss: ``ce``, ``focal``, a registered name, or a function or module from class logits and target fractions (scans x
            classes) to the loss of each scan, or to their mean. It gets the scans with a label.
        label_smoothing: Label smoothing of the class loss.
        task_weights: ``fixed`` adds the tasks with the two weights; ``learned`` starts from them and learns one uncertainty
            per task (Kendall, Gal, Cipolla: Multi-task learning using uncertainty to weigh losses, CVPR 2018).
        mask_weight: Weight of the mask loss.
        class_weight: Weight of the class loss.
        class_weights: Weight of each class within the class loss, or None.
        share: Function from the number of known scans (masks, labels by weight) of this process to the divisors of its sums.
            For a single process they are the same; for several it returns their mean, so that averaged gradients are those
            of a single process.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        mask_loss: str | Loss = "dice_ce",
        class_loss: str | Loss = "ce",
        label_smoothing: float = 0.05,
        task_weights: str = "fixed",
        mask_weight: float = 1.0,
        class_weight: float = 0.5,
        class_weights: Tensor | None = None,
        share: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_choice("task_weights", task_weights, TASK_WEIGHTS)
        self.mask_term: Loss = make_part(MASK_LOSSES.find(mask_loss)) if isinstance(mask_loss, str) else mask_loss
        self.class_term: Loss = make_part(CLASS_LOSSES.find(class_loss)) if isinstance(class_loss, str) else class_loss
        self.label_smoothing = label_smoothing
        self.weights = (mask_weight, class_weight)
        self.log_variance = _log_variance(self.weights) if task_weights == "learned" else None
        self.register_buffer("class_weights", class_weights)
        self.share = share

    def forward(self, output: Output, truth: Truth) -> Losses:
        """Return the loss of a batch."""
        sums = [self._masks(output.mask, truth), self._classes(output.classes, truth)]
        counts = torch.stack([count for _, count in sums])
        shared = self.share(counts) if self.share else counts
        known = shared > 0
        mask, classes = torch.stack([summed for summed, _ in sums]) / torch.where(known, shared, 1.0)
        total = self._weighted(torch.stack([mask, classes]), known)
        return Losses(total, None if output.mask is None else mask, None if output.classes is None else classes)

    def _masks(self, logits: Tensor | None, truth: Truth) -> tuple[Tensor, Tensor]:
        """Return the sum over the scans that have a mask, and their number."""
        if logits is None:
            return _nothing(truth)
        mask = torch.where(truth.has_mask[:, None, None, None], truth.mask, 0.0).float()
        if isinstance(self.mask_term, MaskTerm):
            return (self.mask_term(logits.float(), mask) * truth.has_mask).sum(), truth.has_mask.sum().float()
        return _sum_of_known("mask_loss", self.mask_term, logits.float(), mask, truth.has_mask.float())

    def _classes(self, logits: Tensor | None, truth: Truth) -> tuple[Tensor, Tensor]:
        """Return the sum over the scans that have a label, and their number, each weighted by its class."""
        if logits is None:
            return _nothing(truth)
        shares = soft_labels(truth.label, logits.shape[1])
        known = shares.sum(dim=1)
        weights = torch.ones_like(shares[0]) if self.class_weights is None else self.class_weights
        target = shares * (1 - self.label_smoothing) + known[:, None] * self.label_smoothing / len(weights)
        if isinstance(self.class_term, ClassTerm):
            return (self.class_term(logits.float(), target) * weights).sum(), (shares * weights).sum()
        return _sum_of_known("class_loss", self.class_term, logits.float(), target, (shares * weights).sum(dim=1))

    def _weighted(self, losses: Tensor, known: Tensor) -> Tensor:
        if self.log_variance is None:
            return (losses * losses.new_tensor(self.weights)).sum()
        return (losses * torch.exp(-self.log_variance) + known * self.log_variance / 2).sum()


def make_part(registered: Any) -> Any:
    """Return a registered loss: a new object of a class, anything else as it is."""
    return registered() if isinstance(registered, type) else registered


def _sum_of_known(option: str, term: Loss, logits: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of a user's loss over the scans with a weight, and the sum of the weights."""
    known = weights > 0
    if not known.any():
        return logits.sum() * 0, weights.sum()
    values = term(logits[known], target[known])
    check_loss(option, values, logits)
    if values.ndim and len(values) != int(known.sum()):
        raise OptionError(
            f"{option}: returns a tensor of {'x'.join(map(str, values.shape))} for {int(known.sum())} scans: return one value per "
            "scan, or their mean."
        )
    each = values.reshape(len(values), -1).mean(dim=1) if values.ndim else values
    return (each * weights[known]).sum(), weights.sum()


def check_loss(option: str, loss: Any, *outputs: Tensor | None) -> None:
    """Raise an OptionError for a loss that is not a tensor, or that has no gradient while the outputs have one."""
    if not isinstance(loss, Tensor):
        raise OptionError(f"{option}: returned {type(loss).__name__}: return a tensor.")
    if not loss.requires_grad and any(output is not None and output.requires_grad for output in outputs):
        raise OptionError(
            f"{option}: its value has no gradient, so nothing would be learned: compute it from the outputs with torch, without "
            "detach(), item() or numpy()."
        )


def soft_labels(label: Tensor, classes: int) -> Tensor:
    """Return labels as one row of class fractions per scan, zeros where the label is unknown; soft labels are not changed."""
    if label.ndim == 2:
        return label.float()
    return F.one_hot(label - NO_LABEL, classes + 1)[:, 1:].float()


def _nothing(truth: Truth) -> tuple[Tensor, Tensor]:
    zero = torch.zeros((), device=truth.label.device)
    return zero, zero


def _log_variance(weights: tuple[float, float]) -> nn.Parameter:
    if min(weights) <= 0:
        raise OptionError(
            f"task_weights='learned' starts from mask_weight={weights[0]} and class_weight={weights[1]}: give both above 0."
        )
    return nn.Parameter(torch.tensor([-math.log(weight) for weight in weights]))
