"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from bcdseg.errors import OptionError
from bcdseg.networks.network import Network
from bcdseg.registry import OPTIMIZERS
from bcdseg.training.config import FitConfig

PLATEAU_PATIENCE = 5
"""Epochs without a better joint score after which ``plateau`` divides the rate by ten."""

BEST_BY = 1e-4
"""Least difference by which a joint score must exceed the best one for ``plateau``."""


Optimizers = Callable[[list[dict[str, Any]]], Optimizer]
"""Functions and classes that make an optimiser of parameter groups, each with its own ``lr``, ``weight_decay`` and ``momentum``."""

OPTIMIZERS.register("adamw")(AdamW)
OPTIMIZERS.register("adam")(Adam)
OPTIMIZERS.register("sgd")(SGD)


def build_optimizer(network: Network, loss: Any, config: FitConfig, make: Optimizers | None = None) -> Optimizer:
    """Create the optimiser, with separate rates for the encoder and the rest, and no decay of norms and biases.

    Args:
        network: Network to train.
        loss: Loss, whose parameters are trained too if it is a module.
        config: The options, with the name of the optimiser.
        make: Class of the optimiser, or a function that makes it of parameter groups, in place of the config's.
    """
    optimizer = (make or OPTIMIZERS.find(config.optimizer))(parameter_groups(network, loss, config))
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"optimizer: made {type(optimizer).__name__} of the parameter groups: return a torch optimiser.")
    return optimizer


def parameter_groups(network: Network, loss: Any, config: FitConfig) -> list[dict[str, Any]]:
    """Return the parameter groups: encoder and the rest, each with and without weight decay; empty groups are omitted."""
    encoder = list(network.encoder.parameters())
    known = {id(parameter) for parameter in encoder}
    own = list(loss.parameters()) if isinstance(loss, nn.Module) else []
    rest = [parameter for parameter in network.parameters() if id(parameter) not in known] + own
    groups = []
    for name, parameters, lr in (("encoder", encoder, config.lr * config.encoder_lr), ("heads", rest, config.lr)):
        for decays in (True, False):
            chosen = [parameter for parameter in parameters if (parameter.ndim > 1) is decays]
            if chosen:
                decay = config.weight_decay if decays else 0.0
                groups.append(
                    {"params": chosen, "lr": lr, "weight_decay": decay, "momentum": config.momentum, "name": name},
                )
    return groups


def build_schedule(
    optimizer: Optimizer, config: FitConfig, steps_an_epoch: int, scores: Callable[[], Sequence[float]]
) -> LRScheduler:
    """Create the learning-rate schedule, updated each step.

    Args:
        optimizer: The optimiser that it controls.
        config: The options with the name of the schedule and the number of epochs.
        steps_an_epoch: Optimiser steps per epoch.
        scores: Function that returns the joint score of each epoch so far, for ``plateau``.
    """
    steps, warmup = config.epochs * steps_an_epoch, config.warmup_epochs * steps_an_epoch
    if config.schedule == "one_cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        cycles = not {"betas", "momentum"}.isdisjoint(optimizer.defaults)
        return OneCycleLR(optimizer, rates, total_steps=max(2, steps), cycle_momentum=cycles)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.schedule == "cosine":
            return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup)))) / 2
        return plateau_factor(scores()) if config.schedule == "plateau" else 1.0

    return LambdaLR(optimizer, factor)


def plateau_factor(scores: Sequence[float]) -> float:
    """Return a factor of the rate: a tenth for each ``PLATEAU_PATIENCE`` epochs in which the score stagnated.

    It is a function of the scores alone, where torch's ``ReduceLROnPlateau`` has a state: it can be combined with a warm-up, and a
    run that resumes after a kill needs nothing but its history.
    """
    factor, best, stayed = 1.0, -math.inf, 0
    for score in scores:
        if score > best + BEST_BY:
            best, stayed = score, 0
        else:
            stayed += 1
        if stayed == PLATEAU_PATIENCE:
            factor, stayed = factor / 10, 0
    return factor


def freeze_encoder(network: Network, frozen: bool) -> None:
    """Freeze the encoder, including the running statistics of its norms, or unfreeze it."""
    network.encoder.requires_grad_(not frozen)
    network.encoder.train(not frozen)
