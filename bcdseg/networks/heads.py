"""Classification heads: from features to one row of class logits per scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 128  # of the guided head, unless another width is asked for


class GlobalHead(nn.Module):
    """Average of the deepest features over the whole scan, then one linear layer, or a dense layer and a linear one."""

    def __init__(self, channels: int, classes: int, dropout: float, hidden: int | None = None) -> None:
        super().__init__()
        self.project = nn.Identity() if hidden is None else nn.Sequential(nn.Linear(channels, hidden), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden or channels, classes)

    def forward(self, features: Sequence[Tensor], *_: Tensor | None) -> Tensor:
        """Logits from the encoder's levels; the mask is not looked at."""
        return self.linear(self.dropout(self.project(features[-1].mean(dim=(2, 3)))))  # type: ignore[no-any-return]


class GuidedHead(nn.Module):
    """Averages over the whole scan and under the predicted mask, from two encoder levels and the decoder.

    The mask comes in without its gradient: the classes learn to read the outline, and the outline is
    not bent to please the classes. Where nothing is outlined the averages under the mask fade to zero, so
    'nothing here' is something the head can see.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        decoded_channels: int,
        classes: int,
        dropout: float,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides[-2:])
        width = 2 * (sum(channels[-2:]) + decoded_channels) + 2
        self.project = nn.Sequential(nn.Linear(width, hidden or HIDDEN), nn.SiLU(), nn.Dropout(dropout))
        self.linear = nn.Linear(hidden or HIDDEN, classes)

    def forward(self, features: Sequence[Tensor], decoded: Tensor, mask_logits: Tensor) -> Tensor:
        """Logits from the encoder's levels, the decoder's last features and the mask."""
        mask = torch.sigmoid(mask_logits.detach())
        facts = [mask.mean(dim=(1, 2, 3)).unsqueeze(1), mask.amax(dim=(1, 2, 3)).unsqueeze(1)]
        for level, stride in zip(features[-2:], self.strides, strict=True):
            facts += _averages(level, F.avg_pool2d(mask, stride))
        facts += _averages(decoded, F.avg_pool2d(mask, mask.shape[-1] // decoded.shape[-1]))
        return self.linear(self.project(torch.cat(facts, dim=1)))  # type: ignore[no-any-return]


def _averages(features: Tensor, mask: Tensor) -> list[Tensor]:
    everywhere = features.mean(dim=(2, 3))
    share = mask.mean(dim=(2, 3))
    under_mask = (features * mask).mean(dim=(2, 3)) / (share + 1e-3)
    return [everywhere, under_mask]


class Decisions(NamedTuple):
    """The two decisions of a hierarchical head, as logits.

    Attributes:
        evidence: Presence of a lesion by the mask logits alone, one per scan.
        context: Presence of a lesion by pooled features, one per scan.
        lesion_classes: Which class, given that there is a lesion; scans x classes without the negative one.
    """

    evidence: Tensor
    context: Tensor
    lesion_classes: Tensor


class HierarchicalHead(nn.Module):
    """Two decisions in sequence: is there a lesion, and if so, of which class?

    A softmax over normal, benign and malignant lets a network learn 'normal' as the look of one hospital, where only some
    hospitals contribute normal scans. Here presence is decided by the mask logits, which are trained at each pixel of each
    hospital, and by pooled features; ``presence`` weighs the two. The class given a lesion is a decision of its own.
    The output is one row of logits whose softmax is the joint probability, so that every consumer of class logits works.

    Args:
        guided: The trunk; its outputs are the presence logit by context, then one logit per lesion class.
        negative: Index of the class that means 'no lesion'.
    """

    def __init__(self, guided: GuidedHead, negative: int) -> None:
        super().__init__()
        self.guided = guided
        self.negative = negative
        self.evidence = nn.Sequential(nn.Linear(len(EVIDENCE_GRIDS) + 2, 16), nn.SiLU(), nn.Linear(16, 1))
        self.presence = nn.Linear(2, 1)
        nn.init.constant_(self.presence.weight, 0.5)
        nn.init.zeros_(self.presence.bias)

    def forward(self, features: Sequence[Tensor], decoded: Tensor, mask_logits: Tensor) -> Tensor:
        """Logits from the encoder's levels, the decoder's last features and the mask."""
        decisions = self.decide(features, decoded, mask_logits)
        presence = self.presence(torch.cat([decisions.evidence, decisions.context], dim=1))
        positive = F.log_softmax(decisions.lesion_classes, dim=1)
        before, after = positive[:, : self.negative], positive[:, self.negative :]
        return torch.cat([before, -presence, after], dim=1)

    def decide(self, features: Sequence[Tensor], decoded: Tensor, mask_logits: Tensor) -> Decisions:
        """Return each decision by itself, as training needs them."""
        guided = self.guided(features, decoded, mask_logits)
        return Decisions(self.evidence(mask_evidence(mask_logits)), guided[:, :1], guided[:, 1:])


EVIDENCE_GRIDS = (64, 32, 16, 8)
"""Mask logits are averaged over squares of 1/64 to 1/8 of the input; the highest average counts."""


def mask_evidence(mask_logits: Tensor) -> Tensor:
    """Return how strongly the mask logits indicate a lesion at several sizes, and how much area they claim; scans x 6."""
    side = min(mask_logits.shape[-2:])
    peaks = [F.avg_pool2d(mask_logits, max(1, side // grid)).amax(dim=(2, 3)) / 4 for grid in EVIDENCE_GRIDS]
    area = torch.sigmoid(mask_logits).mean(dim=(2, 3))
    return torch.cat([*peaks, area * 10, torch.log(area + 1e-4) / 4 + 1], dim=1)
