"""Checkpoints: written whole at the end of each epoch, read without pickle."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from bcdseg.errors import ModelFileError
from bcdseg.files import write_whole
from bcdseg.train.loop.task import Task
from bcdseg.train.run import BEST, LAST, METRICS, best_epoch, is_finished, metrics_csv


class WholeFiles(TorchCheckpointIO):  # type: ignore[misc]
    """Lightning's files, written so that a kill or a power loss at any moment leaves the old one or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        """Called by Lightning, in the first process."""
        held = io.BytesIO()
        torch.save(checkpoint, held)
        write_whole(Path(path), held.getvalue(), overwrite=True, durable=True)


class Keeper(Checkpoint):  # type: ignore[misc]
    """Keeps the last epoch and the best one, and the table of all, and ends a run that gets no better.

    The best one is written first: a run that is killed between the two repeats the epoch and writes it again.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts

    def on_train_epoch_end(self, trainer: pl.Trainer, task: Task) -> None:
        """Called by Lightning, after all other callbacks."""
        if trainer.is_global_zero:
            write_whole(self.folder / METRICS, metrics_csv(task.history), overwrite=True, durable=True)
        if best_epoch(task.history) == len(task.history):
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)
        trainer.should_stop = is_finished(task.history, task.config)

    def on_save_checkpoint(self, trainer: pl.Trainer, task: Task, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """What the weights belong to."""
        checkpoint["facts"] = self.facts


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, of tensors and plain values only.

    Raises:
        ModelFileError: The file is damaged, or holds anything else.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelFileError(f"{path}: is damaged, or no checkpoint of a run ({type(error).__name__}).") from error
    missing = {"state_dict", "history", "facts"} - checkpoint.keys()
    if missing:
        raise ModelFileError(f"{path}: is no checkpoint of a run of bcdseg: it lacks {', '.join(sorted(missing))}.")
    return checkpoint
