"""A network with known outputs: bright pixels are lesion, and every scan is benign."""

from __future__ import annotations

import torch

import bcdseg
from bcdseg import Model, Output, Rules


class Bright(torch.nn.Module):
    def __init__(self, network: bcdseg.Network) -> None:
        super().__init__()
        self.config, self.stride = network.config, network.stride
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> Output:
        return Output(40 * (image[:, :1] - 0.5) + self.anchor, torch.tensor([[0.0, 3.0, 1.0]]).repeat(len(image), 1))


def bright_model(resize: str = "none", size: tuple[int, int] = (64, 64), rules: Rules | None = None) -> Model:
    made = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"])
    path = bcdseg.Preprocessing(size=size, resize=resize, mean=(0,), std=(1,))
    return Model(Bright(made.network), path, rules, name="bright")  # type: ignore[arg-type]
