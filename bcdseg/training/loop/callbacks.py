"""Lightning callbacks for checkpoints and progress."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bcdseg.errors import ModelFileError
from bcdseg.files import write_whole
from bcdseg.training.loop.task import SegmentationClassificationTask
from bcdseg.training.run import BEST, LAST, METRICS, best_epoch, is_finished, metrics_csv


class WholeFiles(TorchCheckpointIO):  # type: ignore[misc]
    """Checkpoint writer whose files stay complete: a kill or a power loss at any moment leaves the old file or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write a checkpoint; Lightning calls this method in the first process."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(Path(path), content.getvalue(), overwrite=True, durable=True)


class CheckpointCallback(Checkpoint):  # type: ignore[misc]
    """Callback that saves the last and the best epoch and the table of all, and stops a run that no longer improves.

    The best epoch is written first: a run that is killed between the two repeats the epoch and writes it again.
    """

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        self.folder = folder
        self.description = description

    def on_train_epoch_end(self, trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:
        """Save the epoch; Lightning calls this method after all other callbacks."""
        if trainer.is_global_zero:
            write_whole(self.folder / METRICS, metrics_csv(task.history), overwrite=True, durable=True)
        if best_epoch(task.history) == len(task.history):
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)
        trainer.should_stop = is_finished(task.history, task.config)

    def on_save_checkpoint(self, trainer: pl.Trainer, task: SegmentationClassificationTask, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Add the network's configuration and preprocessing that the weights belong to."""
        checkpoint["facts"] = self.description  # the name in checkpoints of earlier versions


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain values only.

    Raises:
        ModelFileError: The file is damaged, or contains anything else.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelFileError(f"{path}: is damaged, or not a checkpoint of a run ({type(error).__name__}).") from error
    missing = {"state_dict", "history", "facts"} - checkpoint.keys()
    if missing:
        raise ModelFileError(f"{path}: is not a checkpoint of a run of bcdseg: it lacks {', '.join(sorted(missing))}.")
    return checkpoint


NAMES = {
    "mask_loss": "mask loss",
    "class_loss": "class loss",
    "val_dice": "val Dice",
    "val_balanced_accuracy": "val balanced accuracy",
    "joint": "joint",
}
SHOW_EVERY = 10
"""Batches between two updates of the displayed losses, because each update waits for the device."""

WARM_UP, MEASURED = 2, 8
"""Steps of a run after which the time of a step is measured, and the number of steps of the measurement."""


class ProgressCallback(Callback):  # type: ignore[misc]
    """Callback that shows the losses and metrics of both tasks during training."""

    def __init__(self, console: Console) -> None:
        losses = TextColumn("{task.fields[losses]}")
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), losses
        self.console = console
        self.steps = 0
        self.start = 0.0
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def on_train_epoch_start(self, trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:
        """Start the epoch's progress bar; called by Lightning."""
        self.progress.start()
        name = f"epoch {task.epoch + 1}/{task.config.epochs}"
        self.bar = self.progress.add_task(name, total=trainer.num_training_batches, losses="")

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: SegmentationClassificationTask, _outputs: Any, _batch: Any, number: int
    ) -> None:
        """Advance the progress bar; called by Lightning."""
        self.progress.advance(self.bar)
        self._print_total_time(trainer, task)
        if self.console.is_terminal and number % SHOW_EVERY == 0:
            self.progress.update(self.bar, losses=_named(task.running))

    def _print_total_time(self, trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:
        """Print the expected time of the run once, as soon as some of its steps have been measured."""
        self.steps += 1
        if self.steps not in (WARM_UP, WARM_UP + MEASURED):
            return
        if task.device.type == "cuda":
            torch.cuda.synchronize(task.device)
        if self.steps == WARM_UP:
            self.start = time.monotonic()
            return
        step = (time.monotonic() - self.start) / MEASURED
        epochs, batches = task.config.epochs - task.epoch, trainer.num_training_batches
        text = f"about {duration(step * epochs * batches)} without validation: {step:.2g} s per step, {batches} steps per epoch"
        self.console.print(f"{text}, {epochs} epochs", highlight=False, markup=False, soft_wrap=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:  # noqa: ARG002
        """Print the epoch's row of the history, which is complete when Lightning calls this method."""
        self.progress.remove_task(self.bar)
        best = "  best" if best_epoch(task.history) == len(task.history) else ""
        self.console.print(line(task.history[-1], task.config.epochs) + best, highlight=False, markup=False, soft_wrap=True)

    def on_train_end(self, *_: Any) -> None:
        """Stop the progress bar; called by Lightning."""
        self.progress.stop()

    def on_exception(self, *_: Any) -> None:
        """Stop the progress bar; called by Lightning."""
        self.progress.stop()


def duration(seconds: float) -> str:
    """Return a time as text, in its two largest units.

    Examples:
        >>> duration(7384), duration(95), duration(12.4)
        ('2 h 3 min', '1 min 35 s', '12 s')
    """
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def line(row: Mapping[str, float], epochs: int) -> str:
    """Return an epoch's losses and metrics as one line."""
    return f"epoch {int(row['epoch']):>{len(str(epochs))}}/{epochs}  {_named(row)}"


def _named(row: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {row[key]:.3f}" for key, name in NAMES.items() if key in row)
