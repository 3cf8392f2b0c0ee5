"""Cost of a network: parameters, operations, time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from bcdseg.data.dataset import Dataset
from bcdseg.models.model import Model

TIMED = 32


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs to run and to train.

    Attributes:
        parameters: Numbers that were trained.
        gflops: Thousand million additions and multiplications for one scan, each counted.
        seconds_per_scan: From file to answer, one scan after the other, on the machine of the benchmark.
        training_minutes: Training and validating, of one fold.
        device: Where it ran.
    """

    parameters: int
    gflops: float
    seconds_per_scan: float
    training_minutes: float
    device: str


def parameters(model: Model) -> int:
    """How many numbers a network has."""
    return sum(tensor.numel() for tensor in model.network.parameters())


def gflops(model: Model) -> float:
    """Thousand million floating-point operations for one scan of the network's size."""
    config, (height, width) = model.network.config, model.preprocessing.frame
    device = next(model.network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network.eval()(torch.zeros(1, config.in_channels, height, width, device=device))
    return float(counter.get_total_flops()) / 1e9


def seconds_per_scan(model: Model, dataset: Dataset) -> float:
    """From file to answer, one scan after the other; the first, which makes the model ready, is not timed."""
    paths = [sample.image for sample in dataset][:TIMED]
    model.predict(paths[0])
    start = time.perf_counter()
    for path in paths:
        model.predict(path)
    return (time.perf_counter() - start) / len(paths)
