"""How far a run is: a bar in a terminal, and a line an epoch everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bcdseg.train.loop.task import Task
from bcdseg.train.run import best_epoch

NAMES = {
    "mask_loss": "mask loss",
    "class_loss": "class loss",
    "val_dice": "val Dice",
    "val_balanced_accuracy": "val balanced accuracy",
    "joint": "joint",
}
LOOK_EVERY = 10
"""Batches between two looks at the running losses; each waits for the device."""


class Show(Callback):  # type: ignore[misc]
    """Both tasks' losses and measures as they come."""

    def __init__(self, console: Console) -> None:
        losses = TextColumn("{task.fields[losses]}")
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), losses
        self.console = console
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def on_train_epoch_start(self, trainer: pl.Trainer, task: Task) -> None:
        """Called by Lightning."""
        self.progress.start()
        name = f"epoch {task.epoch + 1}/{task.config.epochs}"
        self.bar = self.progress.add_task(name, total=trainer.num_training_batches, losses="")

    def on_train_batch_end(self, _trainer: pl.Trainer, task: Task, _outputs: Any, _batch: Any, number: int) -> None:
        """Called by Lightning."""
        self.progress.advance(self.bar)
        if self.console.is_terminal and number % LOOK_EVERY == 0:
            self.progress.update(self.bar, losses=_named(task.running))

    def on_train_epoch_end(self, trainer: pl.Trainer, task: Task) -> None:  # noqa: ARG002
        """Called by Lightning after the row was made."""
        self.progress.remove_task(self.bar)
        best = "  best" if best_epoch(task.history) == len(task.history) else ""
        self.console.print(line(task.history[-1], task.config.epochs) + best, highlight=False, markup=False, soft_wrap=True)

    def on_train_end(self, *_: Any) -> None:
        """Called by Lightning."""
        self.progress.stop()

    def on_exception(self, *_: Any) -> None:
        """Called by Lightning."""
        self.progress.stop()


def line(row: Mapping[str, float], epochs: int) -> str:
    """An epoch in one line."""
    return f"epoch {int(row['epoch']):>{len(str(epochs))}}/{epochs}  {_named(row)}"


def _named(row: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {row[key]:.3f}" for key, name in NAMES.items() if key in row)
