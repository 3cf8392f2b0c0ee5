"""A run of two processes, started by torchrun: two_processes.py DATA OUT. Also its batch norm, in double precision."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from killed_run import OPTIONS, model, parts
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

import bcdseg
from bcdseg.training.loop.processes import synchronise

TOGETHER: dict[str, Any] = {
    **OPTIONS,
    "epochs": 2,
    "batch_size": 4,
    "freeze_encoder_epochs": 1,
    "optimizer": "sgd",
    "lr": 0.05,
    "momentum": 0.0,
}
"""SGD, as Adam divides by gradients that are next to nothing and so makes much of rounding."""


def start() -> bcdseg.Model:
    """Return a model without dropout, which draws other numbers in each process."""
    made = model(dropout=0)
    for module in made.network.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0
    return made


def normed(rank: int, world: int) -> list[Tensor]:
    """Return output, running statistics and gradients of batch norms over the scans of a process."""
    torch.manual_seed(1)
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), BatchNormAct2d(3), nn.BatchNorm2d(3, momentum=None)).double()
    images = torch.randn(5, 2, 6, 6, dtype=torch.float64) + 3
    if world > 1:
        synchronise(layers, "cpu")
    images = images[rank::world].requires_grad_()
    output = layers(images)
    output.pow(3).sum().backward()
    gradients = [value.grad for value in layers.parameters() if value.grad is not None]
    for gradient in gradients if world > 1 else []:
        dist.all_reduce(gradient)
    assert images.grad is not None
    return [output.detach()[:1], images.grad[:1], *gradients, *layers.buffers()]


if __name__ == "__main__":
    run = bcdseg.fit(start(), *parts(Path(sys.argv[1])), out=sys.argv[2], devices=2, **TOGETHER)
    found = {
        "history": run.history,
        "best": run.best_epoch,
        "weights": run.model.network.state_dict(),
        "norms": normed(dist.get_rank(), 2),
    }
    torch.save(found, Path(sys.argv[2]) / f"rank{dist.get_rank()}.pt")
