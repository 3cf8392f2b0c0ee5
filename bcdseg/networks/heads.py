"""Classification heads, from features to one row of class logits per scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.errors import OptionError
from bcdseg.registry import HEADS

HIDDEN = 128  # default width of the guided head


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Shapes of the inputs of a class head, and its options.

    A registered head is a function from this configuration to a module, whose ``forward(features, decoded, mask_logits)`` returns
    class logits. ``features`` are the encoder's feature maps, ``decoded`` and ``mask_logits`` are None without a decoder.

    Attributes:
        channels: Number of channels of each feature map of the encoder, the deepest last.
        strides: Stride of each feature map.
        decoded_channels: Number of channels of the decoder's last feature map; None without a decoder.
        classes: Names of the classes.
        no_lesion: Negative class ('no lesion'), or None.
        dropout: Dropout rate before the last layer.
        hidden: Width of the dense layer before the last one; None is the head's default.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    decoded_channels: int | None
    classes: tuple[str, ...]
    no_lesion: str | None
    dropout: float
    hidden: int | None


class GlobalHead(nn.Module):
    """Head with global average pooling of the deepest features, an optional dense layer, and a linear layer."""

    def __init__(self, channels: int, classes: int, dropout: float, hidden: int | None = None) -> None:
        super().__init__()
        self.project = nn.Identity() if hidden is None else nn.Sequential(nn.Linear(channels, hidden), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden or channels, classes)

    def forward(self, features: Sequence[Tensor], *_: Tensor | None) -> Tensor:
        """Compute class logits from the encoder's features; the mask is not used."""
        return self.linear(self.dropout(self.project(features[-1].mean(dim=(2, 3)))))  # type: ignore[no-any-return]


class GuidedHead(nn.Module):
    """Head with average pooling, globally and under the predicted mask, of two encoder levels and the decoder's features.

    The mask is detached from the gradient: classification uses the outline, but its loss doesn't distort the outline. Where nothing
    is outlined, the averages under the mask approach zero, so that the head can recognise the absence of a lesion.
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
        """Compute class logits from the encoder's features, the decoder's last features and the mask."""
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
    """Separate decisions of a hierarchical head, as logits.

    Attributes:
        evidence: Presence of a lesion from the mask logits alone, one logit per scan.
        context: Presence of a lesion from pooled features, one logit per scan.
        lesion_classes: Class given a lesion; scans x classes without the negative class.
    """

    evidence: Tensor
    context: Tensor
    lesion_classes: Tensor


class HierarchicalHead(nn.Module):
    """Head that decides on the presence of a lesion first, and on its class given a lesion second.

    With a softmax over normal, benign and malignant, a network can learn 'normal' as the appearance of one hospital's scans where
    only some hospitals contribute normal scans. Here presence depends on the mask logits, which are trained at each pixel of each
    hospital, and on pooled features; ``presence`` weights the two. The class given a lesion is a separate decision. At a hospital
    left out both rank presence alike; here it has a calibration and a threshold of its own, which can be fitted to a hospital.
    The output is one row of logits whose softmax is the joint probability, so that it works wherever class logits do.

    Args:
        guided: Trunk whose outputs are the presence logit from context, then one logit per lesion class.
        negative: Index of the negative class ('no lesion').
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
        """Compute class logits from the encoder's features, the decoder's last features and the mask."""
        decisions = self.decide(features, decoded, mask_logits)
        presence = self.presence(torch.cat([decisions.evidence, decisions.context], dim=1))
        positive = F.log_softmax(decisions.lesion_classes, dim=1)
        before, after = positive[:, : self.negative], positive[:, self.negative :]
        return torch.cat([before, -presence, after], dim=1)

    def decide(self, features: Sequence[Tensor], decoded: Tensor, mask_logits: Tensor) -> Decisions:
        """Compute the separate decisions, which training needs."""
        guided = self.guided(features, decoded, mask_logits)
        return Decisions(self.evidence(mask_evidence(mask_logits)), guided[:, :1], guided[:, 1:])


EVIDENCE_GRIDS = (64, 32, 16, 8)
"""Grids of squares (1/64 to 1/8 of the input) over which mask logits are averaged; the highest average of each grid counts."""


def mask_evidence(mask_logits: Tensor) -> Tensor:
    """Return the peak of the averaged mask logits at several sizes, and the predicted area; scans x 6."""
    side = min(mask_logits.shape[-2:])
    peaks = [F.avg_pool2d(mask_logits, max(1, side // grid)).amax(dim=(2, 3)) / 4 for grid in EVIDENCE_GRIDS]
    area = torch.sigmoid(mask_logits).mean(dim=(2, 3))
    return torch.cat([*peaks, area * 10, torch.log(area + 1e-4) / 4 + 1], dim=1)


@HEADS.register("global")
def build_global_head(config: HeadConfig) -> GlobalHead:
    """Build a ``GlobalHead``."""
    return GlobalHead(config.channels[-1], len(config.classes), config.dropout, config.hidden)


@HEADS.register("guided")
def build_guided_head(config: HeadConfig) -> GuidedHead:
    """Build a ``GuidedHead``."""
    if config.decoded_channels is None:
        raise OptionError("head='guided' pools under the predicted mask and so needs a decoder: use head='global'.")
    channels, strides, decoded = config.channels, config.strides, config.decoded_channels
    return GuidedHead(channels, strides, decoded, len(config.classes), config.dropout, config.hidden)


@HEADS.register("hierarchical")
def build_hierarchical_head(config: HeadConfig) -> HierarchicalHead:
    """Build a ``HierarchicalHead``."""
    if config.no_lesion is None:
        raise OptionError("head='hierarchical' needs a class that means 'no lesion': no_lesion='...'.")
    return HierarchicalHead(build_guided_head(config), config.classes.index(config.no_lesion))
