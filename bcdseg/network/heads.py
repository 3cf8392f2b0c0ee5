"""The two classification heads. Both turn the encoder's and decoder's features into one row of logits a scan."""

from __future__ import annotations

from collections.abc import Sequence

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
