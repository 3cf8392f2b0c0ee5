"""Models that benchmarks run: a trained one by its name or folder, or a new one by the name of its encoder."""

from __future__ import annotations

from pathlib import Path

import torch

import bcdseg

CLASSES = ("normal", "benign", "malignant")
TRAINED = tuple(record.name for record in bcdseg.models())


def is_trained(name: str) -> bool:
    return name in TRAINED or Path(name).is_dir()


def model_of(name: str, device: str = "cpu") -> bcdseg.Model:
    """Return a model on torch, in 32 bits; a new one always has the same weights."""
    if is_trained(name):
        return bcdseg.load(name, device=device, runtime="torch", precision="fp32")
    torch.manual_seed(0)
    model = bcdseg.create(name, classes=CLASSES, device=device)
    # Random running averages, as training would leave them: with those of a new network all outputs are nearly the same.
    with torch.no_grad():
        model.network.train()
        for _ in range(3):
            model.network(torch.randn(4, model.preprocessing.channels, *model.preprocessing.frame))
    model.network.eval()
    return model
