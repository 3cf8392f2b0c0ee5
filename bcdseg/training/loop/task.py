"""The segmentation and classification task as a Lightning module."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from bcdseg.errors import NotFiniteError
from bcdseg.networks.network import Network, Output
from bcdseg.training.config import FitConfig
from bcdseg.training.data.loaders import Batch
from bcdseg.training.finetune import Teacher, distil
from bcdseg.training.loop.distributed import gathered
from bcdseg.training.loop.epoch_metrics import ScanMetrics, Tally, cases_of, measures
from bcdseg.training.loop.optimisers import build_optimizer, build_schedule, freeze_encoder
from bcdseg.training.losses import JointLoss, Losses


class SegmentationClassificationTask(pl.LightningModule):  # type: ignore[misc]
    """Lightning module that trains a network and validates it once per epoch.

    Attributes:
        network: The network that is trained.
        loss: The joint loss.
        validation: Result of each scan in the last validation, over all processes, in the order of their ids.
        history: One row of losses and metrics per epoch.
    """

    def __init__(
        self, network: Network, loss: JointLoss, config: FitConfig, *, steps_an_epoch: int, teacher: Teacher | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.config = config
        self.steps_an_epoch = steps_an_epoch
        self.teacher = teacher
        self.validation: list[ScanMetrics] = []
        self.history: list[dict[str, float]] = []
        self._began = 0.0
        self._tally = Tally()
        self._cases: list[ScanMetrics] = []
        self._row: dict[str, float] = {}

    @property
    def epoch(self) -> int:
        """Index of the current epoch, from 0."""
        return len(self.history)

    @property
    def running(self) -> dict[str, float]:
        """Running losses of both tasks in the current epoch, of this process alone."""
        return self._tally.so_far()

    def on_train_start(self) -> None:
        """Start the clock of the first epoch."""
        self._began = time.monotonic()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the joint loss of a batch, plus the distillation loss where there is a teacher."""
        image = self._laid_out(batch.image)
        output: Output = self.network(image)
        losses: Losses = self.loss(output, batch.truth)
        if self.teacher is not None:
            weights = {"mask_weight": self.config.mask_weight, "class_weight": self.config.class_weight}
            losses = losses._replace(total=losses.total + distil(output, self.teacher(image), **weights))
        if not torch.isfinite(losses.total):
            raise NotFiniteError(_not_finite(losses, batch))
        self._tally.add(losses)
        return losses.total

    def validation_step(self, batch: Batch, _: int) -> Output:
        """Record losses, masks and classes of a batch; the output is returned for the callbacks."""
        output: Output = self.network(self._laid_out(batch.image))
        self._tally.add(self.loss(output, batch.truth))
        self._cases += cases_of(batch, output)
        return output

    def on_train_epoch_start(self) -> None:
        """Freeze or unfreeze the encoder, and reset the loss meter."""
        freeze = self.config.freeze_encoder_epochs
        freeze_encoder(self.network, freeze == -1 or self.epoch < freeze)
        self._tally = Tally()
        self.loss.share = self._tally.share_among_processes

    def on_train_batch_start(self, _: Batch, batch_idx: int) -> None:
        """Seed dropout by seed, epoch and process alone, so that a run that resumes after a kill gives the same result."""
        if batch_idx == 0:
            torch.manual_seed((self.config.seed * 1_000_003 + self.epoch) * 1_009 + self.global_rank)

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's row with the losses of training."""
        self._row = {"epoch": self.epoch + 1, **self._tally.means()}
        self._cases, self._tally = [], Tally()
        self.loss.share = self._tally.share_alone

    def on_validation_epoch_end(self) -> None:
        """Complete the epoch's row with the metrics over the scans of all processes, each counted once."""
        cases = {case.id: case for case in gathered(self._cases)}
        self.validation = [cases[id] for id in sorted(cases)]
        losses = self._tally.means()
        losses.pop("loss")  # learned task weights may make it negative, and mixing makes it incomparable with training's
        self._row |= {f"val_{name}": value for name, value in losses.items()}
        self._row |= measures(self.validation)
        self._row["lr"] = self.trainer.optimizers[0].param_groups[-1]["lr"]
        now = time.monotonic()  # an epoch's seconds include the writing at the end of the one before
        self._row["seconds"], self._began = round(now - self._began, 2), now
        self.history.append(self._row)
        self.log_dict(self._row, rank_zero_only=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """Create the optimiser and its schedule; see ``optimisers``."""
        optimizer = build_optimizer(self.network, self.loss, self.config)
        schedule = build_schedule(optimizer, self.config, self.steps_an_epoch, lambda: [row["joint"] for row in self.history])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the history to the checkpoint."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore the history, from which a resumed run has its epoch and the best score."""
        self.history = list(checkpoint["history"])

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.contiguous(memory_format=torch.channels_last) if self.config.channels_last else image


def _not_finite(losses: Losses, batch: Batch) -> str:
    parts = {"mask loss": losses.mask, "class loss": losses.classes}
    said = ", ".join(f"{name} {value.item():g}" for name, value in parts.items() if value is not None)
    return (
        f"The loss is not finite ({said}) in the batch of {', '.join(batch.ids)}. Training has stopped; what the run wrote before "
        "is whole. Look at these scans; else lower lr, set clip, or choose precision=32."
    )
