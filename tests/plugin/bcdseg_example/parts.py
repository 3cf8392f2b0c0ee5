"""The parts, which are registered when bcdseg imports this module."""

from __future__ import annotations

import torch
from torch import nn

import bcdseg


@bcdseg.register("encoder", "example_cnn")
class Encoder(nn.Module):
    """Encoder of five strided convolutions."""

    out_channels = (4, 4, 8, 8, 8)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        widths = [in_channels, *self.out_channels]
        self.stages = nn.ModuleList(nn.Conv2d(widths[at], widths[at + 1], 3, stride=2, padding=1) for at in range(5))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return five feature maps."""
        features = []
        for stage in self.stages:
            image = stage(image).relu()
            features.append(image)
        return features


@bcdseg.register("head", "example_max")
class MaxHead(nn.Module):
    """Linear layer on the maximum of the deepest features."""

    def __init__(self, config: object) -> None:
        super().__init__()
        self.linear = nn.Linear(config.channels[-1], len(config.classes))

    def forward(self, features: list[torch.Tensor], decoded: object, mask_logits: object) -> torch.Tensor:  # noqa: ARG002
        """Return class logits."""
        return self.linear(features[-1].amax(dim=(2, 3)))


@bcdseg.register("mask_loss", "example_l1")
def absolute_error(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute error of each scan."""
    return (logits.sigmoid() - mask).abs().mean(dim=(1, 2, 3))
