"""Cost of a network: parameters, operations, time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from bcdseg.data.dataset import Dataset
from bcdseg.model.model import Model

TIMED = 32


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of running and training a model.

    Attributes:
        parameters: Number of trained parameters.
        gflops: Floating-point operations for one scan in units of 10^9; a multiplication and an addition count as two.
        seconds_per_scan: Time from file to prediction on the benchmark's machine, one scan after the other.
        training_minutes: Time of training and validation of one fold.
        device: Device on which the model ran.
    """

    parameters: int
    gflops: float
    seconds_per_scan: float
    training_minutes: float
    device: str


def parameters(model: Model) -> int:
    """Return the number of parameters of a network."""
    return sum(tensor.numel() for tensor in model.network.parameters())


def gflops(model: Model) -> float:
    """Return the floating-point operations, in units of 10^9, for one scan of the network's input size."""
    config, (height, width) = model.network.config, model.preprocessing.frame
    device = next(model.network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network.eval()(torch.zeros(1, config.in_channels, height, width, device=device))
    return float(counter.get_total_flops()) / 1e9


def seconds_per_scan(model: Model, dataset: Dataset) -> float:
    """Return the mean time from file to prediction, one scan after the other.

    An untimed prediction comes first, because it prepares the model.
    """
    paths = [sample.image for sample in dataset][:TIMED]
    model.predict(paths[0])
    start = time.perf_counter()
    for path in paths:
        model.predict(path)
    return (time.perf_counter() - start) / len(paths)
