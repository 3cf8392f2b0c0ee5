"""The segmentation and classification task as a Lightning module, with its optimisers and learning-rate schedules."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from bcdseg.errors import NotFiniteError, OptionError
from bcdseg.extras import require
from bcdseg.networks.network import Network, Output
from bcdseg.registry import LOSSES, OPTIMIZERS
from bcdseg.training.config import FitConfig
from bcdseg.training.data.loaders import Batch
from bcdseg.training.finetune import Teacher, distil
from bcdseg.training.loop.epoch_metrics import VALIDATION_METRICS, LossMeter, ScanMetrics, scan_metrics
from bcdseg.training.loop.processes import gathered
from bcdseg.training.losses import JointLoss, Losses, Truth, check_loss, make_part

pl: Any = require("pytorch_lightning", extra="train", purpose="Training")
JOINT = "joint"
"""Metric that selects the epoch."""


class SegmentationClassificationTask(pl.LightningModule):  # type: ignore[misc]
    """Lightning module that trains a network for segmentation and classification, and validates it once per epoch.

    A subclass overrides ``configure_loss``, ``configure_optimizers`` or ``configure_metrics``, and is given to
    ``bcdseg.fit(task=...)``. All other methods of a Lightning module may be overridden too.

    Args:
        network: Network to train.
        config: Options of the run.
        class_weights: Weight of each class in the class loss, or None.
        steps_per_epoch: Optimiser steps per epoch, for the learning-rate schedule.
        teacher: Teacher whose outputs are distilled, or None.
        loss: Loss in place of that of ``configure_loss``.
        optimizer: Class of an optimiser, or a function that makes one of parameter groups, in place of the config's.

    Attributes:
        network: The network that is trained.
        config: The options of the run.
        class_weights: Weight of each class in the class loss, or None.
        steps_per_epoch: Optimiser steps per epoch.
        loss: The loss.
        metrics: Metrics of a validation pass by the name of their column.
        validation: Result of each scan in the last validation, over all processes, in the order of their ids.
        history: One row of losses and metrics per epoch.
    """

    def __init__(
        self,
        network: Network,
        config: FitConfig,
        *,
        class_weights: Tensor | None = None,
        steps_per_epoch: int = 1,
        teacher: Teacher | None = None,
        loss: Any = None,
        optimizer: Optimizers | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.class_weights = class_weights
        self.steps_per_epoch = steps_per_epoch
        self.teacher = teacher
        self.optimizer = optimizer
        self.validation: list[ScanMetrics] = []
        self.history: list[dict[str, float]] = []
        self._started = 0.0
        self._meter = LossMeter()
        self._results: list[ScanMetrics] = []
        self._row: dict[str, float] = {}
        self.loss = self.configure_loss() if loss is None else loss
        self.metrics = dict(self.configure_metrics())
        if JOINT not in self.metrics:
            raise OptionError(f"{type(self).__name__}.configure_metrics: add the metric {JOINT!r}, whose best epoch is kept.")

    def configure_loss(self) -> Callable[[Output, Truth], Tensor | Losses]:
        """Return the loss of a batch: a function or module from outputs and ground truth to a scalar, or to ``Losses``."""
        config = self.config
        if config.loss != "joint":
            loss: Callable[[Output, Truth], Tensor | Losses] = make_part(LOSSES.find(config.loss))
            return loss
        return JointLoss(
            mask_loss=config.mask_loss,
            class_loss=config.class_loss,
            label_smoothing=config.label_smoothing,
            task_weights=config.task_weights,
            mask_weight=config.mask_weight,
            class_weight=config.class_weight,
            class_weights=self.class_weights,
        )

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule; see ``build_optimizer`` and ``build_schedule``."""
        optimizer = build_optimizer(self.network, self.loss, self.config, self.optimizer)
        schedule = build_schedule(optimizer, self.config, self.steps_per_epoch, lambda: [row[JOINT] for row in self.history])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_metrics(self) -> Mapping[str, Callable[[Sequence[ScanMetrics]], float | None]]:
        """Return the metrics of a validation pass: functions of the results of all scans, by the name of their column.

        A metric that returns None is undefined and left out. ``joint`` selects the epoch: it is always a number, and higher is
        better.
        """
        return VALIDATION_METRICS

    @property
    def epoch(self) -> int:
        """Index of the current epoch, from 0."""
        return len(self.history)

    @property
    def running(self) -> dict[str, float]:
        """Running losses of both tasks in the current epoch, of this process alone."""
        return self._meter.so_far()

    def on_train_start(self) -> None:
        """Start the clock of the first epoch."""
        self._started = time.monotonic()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the joint loss of a batch, plus the distillation loss where there is a teacher."""
        image = self._in_layout(batch.image)
        output: Output = self.network(image)
        losses = self._losses(output, batch)
        if self.teacher is not None:
            weights = {"mask_weight": self.config.mask_weight, "class_weight": self.config.class_weight}
            losses = losses._replace(total=losses.total + distil(output, self.teacher(image), **weights))
        if not torch.isfinite(losses.total):
            raise NotFiniteError(_not_finite(losses, batch))
        self._meter.add(losses)
        return losses.total

    def validation_step(self, batch: Batch, _: int) -> Output:
        """Record losses, masks and classes of a batch; the output is returned for the callbacks."""
        output: Output = self.network(self._in_layout(batch.image))
        self._meter.add(self._losses(output, batch))
        self._results += scan_metrics(batch, output)
        return output

    def on_train_epoch_start(self) -> None:
        """Freeze or unfreeze the encoder, and reset the loss meter."""
        freeze = self.config.freeze_encoder_epochs
        freeze_encoder(self.network, freeze == -1 or self.epoch < freeze)
        self._meter = LossMeter()
        self._share_counts(self._meter.share_among_processes)

    def on_train_batch_start(self, _: Batch, batch_idx: int) -> None:
        """Seed dropout by seed, epoch and process alone, so that a run that resumes after a kill gives the same result."""
        if batch_idx == 0:
            torch.manual_seed((self.config.seed * 1_000_003 + self.epoch) * 1_009 + self.global_rank)

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's row with the losses of training."""
        self._row = {"epoch": self.epoch + 1, **self._meter.means()}
        self._results, self._meter = [], LossMeter()
        self._share_counts(self._meter.share_alone)

    def on_validation_epoch_end(self) -> None:
        """Complete the epoch's row with the metrics over the scans of all processes, each counted once."""
        results = {result.id: result for result in gathered(self._results)}
        self.validation = [results[id] for id in sorted(results)]
        losses = self._meter.means()
        losses.pop("loss")  # learned task weights may make it negative, and mixing makes it incomparable with training's
        self._row |= {f"val_{name}": value for name, value in losses.items()}
        values = {name: metric(self.validation) for name, metric in self.metrics.items()}
        if (score := values[JOINT]) is None or not math.isfinite(score):
            raise OptionError(
                f"{type(self).__name__}.configure_metrics: the metric {JOINT!r} returned {score} in epoch {self.epoch + 1}: "
                "it selects the epoch, so it has to return a number for all results."
            )
        self._row |= {name: float(value) for name, value in values.items() if value is not None}
        self._row["lr"] = self.trainer.optimizers[0].param_groups[-1]["lr"]
        now = time.monotonic()  # an epoch's seconds include the writing at the end of the one before
        self._row["seconds"], self._started = round(now - self._started, 2), now
        self.history.append(self._row)
        self.log_dict(self._row, rank_zero_only=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the history to the checkpoint, without times: checkpoints of equal runs are equal to the last byte."""
        checkpoint["history"] = [{name: value for name, value in row.items() if name != "seconds"} for row in self.history]

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore the history, from which a resumed run has its epoch and the best score."""
        self.history = list(checkpoint["history"])

    def _losses(self, output: Output, batch: Batch) -> Losses:
        """Return the loss of a batch and its parts; a loss of the user's own may return the total alone."""
        losses = self.loss(output, batch.truth)
        if isinstance(losses, Losses):
            return losses
        if not isinstance(losses, Tensor) or losses.numel() != 1:
            form = "x".join(map(str, losses.shape)) if isinstance(losses, Tensor) else ""
            returned = f"a tensor of {form}" if form else type(losses).__name__
            raise OptionError(f"loss: returned {returned}: return a tensor of one number, such as the mean over the batch.")
        check_loss("loss", losses, *output)
        return Losses(losses.reshape(()), None, None)

    def _share_counts(self, share: Callable[[Tensor], Tensor]) -> None:
        if isinstance(self.loss, JointLoss):
            self.loss.share = share

    def _in_layout(self, image: Tensor) -> Tensor:
        return image.contiguous(memory_format=torch.channels_last) if self.config.channels_last else image


def _not_finite(losses: Losses, batch: Batch) -> str:
    parts = {"mask loss": losses.mask, "class loss": losses.classes}
    values = ", ".join(f"{name} {value.item():g}" for name, value in parts.items() if value is not None)
    return (
        f"The loss is not finite ({values or losses.total.item()}) in the batch of {', '.join(batch.ids)}. Training has stopped; "
        "what the run wrote before is whole. Look at these scans; else lower lr, set clip, or choose precision=32."
    )


PLATEAU_PATIENCE = 5
"""Epochs without a better joint score after which ``plateau`` divides the rate by ten."""

BEST_BY = 1e-4
"""Least increase of the joint score over the best one for ``plateau``."""


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
    groups = parameter_groups(network, loss, config)
    try:
        optimizer = (make or OPTIMIZERS.find(config.optimizer))(groups)
    except (TypeError, ValueError) as error:
        raise OptionError(f"optimizer: can't be made of the parameter groups ({error}). Give another one.") from error
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
