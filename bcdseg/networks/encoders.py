"""A small convolutional encoder, registered with segmentation-models-pytorch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from segmentation_models_pytorch.encoders import encoders
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import nn

WIDTHS = (32, 64, 128, 128, 256)


class PlainCNN(nn.Module, EncoderMixin):  # type: ignore[misc]
    """Encoder of five stages, each of two 3x3 convolutions with batch norm and ReLU, then max pooling and dropout."""

    def __init__(self, *, depth: int = 5, output_stride: int = 32, in_channels: int = 3, dropout: float = 0.1) -> None:
        super().__init__()
        self._depth = depth
        self._output_stride = output_stride
        self._in_channels = in_channels
        self._out_channels = [in_channels, *WIDTHS[:depth]]
        self.dropout = dropout
        self._build()

    def _build(self) -> None:
        widths = self._out_channels
        self.stages = nn.ModuleList(_stage(before, after, self.dropout) for before, after in pairwise(widths))

    def set_in_channels(self, in_channels: int, pretrained: bool = False) -> None:  # noqa: ARG002 - the caller passes it by name
        """Set the number of channels, for segmentation-models-pytorch; there are no pretrained weights to keep."""
        if in_channels != self._in_channels:
            self._in_channels = in_channels
            self._out_channels[0] = in_channels
            self._build()

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the image and the features of the five stages, as segmentation-models-pytorch requires."""
        features = [image]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


def _stage(before: int, after: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout2d(dropout),
    )


def register() -> None:
    """Register ``plain_cnn`` with segmentation-models-pytorch, as its documentation describes for custom encoders."""
    entry: dict[str, Any] = {"encoder": PlainCNN, "pretrained_settings": {}, "params": {}}
    encoders.setdefault("plain_cnn", entry)
