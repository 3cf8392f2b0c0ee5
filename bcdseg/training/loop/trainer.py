"""Lightning's trainer for a run, with its callbacks for checkpoints and progress."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, ProgressBar, WeightAveraging
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bcdseg.errors import ModelFileError, OptionError
from bcdseg.extras import require
from bcdseg.files import write_whole
from bcdseg.messages import counted
from bcdseg.runtimes.device import choose_device
from bcdseg.training.config import FitConfig
from bcdseg.training.loop.task import SegmentationClassificationTask
from bcdseg.training.run import BEST, LAST, METRICS, best_epoch, is_finished, metrics_csv, with_seconds


class WholeFiles(TorchCheckpointIO):  # type: ignore[misc]
    """Checkpoint writer whose files stay complete: a kill or a power loss at any moment leaves the old file or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write a checkpoint; Lightning calls this method in the first process."""
        content = io.BytesIO()
        torch.save(_canonical(checkpoint), content)
        write_whole(Path(path), content.getvalue(), overwrite=True, durable=True)


def _canonical(value: Any) -> Any:
    """Return a value in which equal strings are one object and no container occurs twice.

    Pickle writes an object that occurs twice once. So checkpoints have equal bytes only if their values are equal and they have the
    same objects in common, and those of a resumed run come from a file.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if type(value) in (dict, OrderedDict):
        return type(value)((_canonical(key), _canonical(one)) for key, one in value.items())
    if type(value) in (list, tuple):
        return type(value)(map(_canonical, value))
    return value


class CheckpointCallback(Checkpoint):  # type: ignore[misc]
    """Callback that saves the last and the best epoch and the table of all, and stops a run that no longer improves.

    The best epoch is written first: a run that is killed between the two repeats the epoch and writes it again.
    """

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        self.folder = folder
        self.description = description

    def on_train_start(self, trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:  # noqa: ARG002
        """Complete the history of a resumed run; called by Lightning."""
        task.history = with_seconds(task.history, self.folder)

    def on_train_epoch_end(self, trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:
        """Save the epoch; Lightning calls this method after all other callbacks."""
        if trainer.is_global_zero:
            write_whole(self.folder / METRICS, metrics_csv(task.history), overwrite=True, durable=True)
        if best_epoch(task.history) == len(task.history):
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)
        trainer.should_stop = trainer.should_stop or is_finished(task.history, task.config)

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
        text = f"about {duration(step * epochs * batches)} without validation: {step:.2g} s per step"
        text += f", {counted(batches, 'step')} per epoch, {counted(epochs, 'epoch')}"
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

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


PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
COMPILERS = ("g++", "clang++", "cl")


def build_trainer(config: FitConfig, folder: Path, callbacks: list[Callback], loggers: Sequence[Logger] = ()) -> pl.Trainer:
    """Create Lightning's trainer for a run.

    Args:
        config: Options of the run.
        folder: Folder of the run.
        callbacks: Callbacks in the order in which they are called.
        loggers: Loggers besides those that the options name.

    Raises:
        OptionError: The machine doesn't support the options.
    """
    device = choose_device(config.device)
    world = config.devices * config.nodes
    _check_processes(world)
    plugins: list[Any] = [WholeFiles()]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # a run resumes from its own checkpoint
    try:
        return pl.Trainer(
            accelerator={"cuda": "gpu"}.get(device, device),
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=_strategy(config) if world > 1 or config.strategy == "ddp" else "auto",
            precision=PRECISIONS[choose_precision(config.precision, device)],
            max_epochs=config.epochs,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.clip,
            deterministic=config.deterministic,
            callbacks=[*callbacks, *([] if config.ema is None else [average(config.ema)])],
            logger=[*_loggers(config, folder), *loggers] or False,
            plugins=plugins,
            default_root_dir=folder,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        raise OptionError(f"device={config.device!r}, devices={config.devices}, nodes={config.nodes}: {error}") from error


def average(decay: float) -> WeightAveraging:
    """Create Lightning's average of the weights, with a smaller decay at first, so that a short run's isn't its random start."""

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averaged, current, count)  # type: ignore[no-untyped-call]

    return WeightAveraging(multi_avg_fn=update)


def choose_precision(precision: str, device: str) -> str:
    """Return the precision for a device; ``auto`` is bf16 on a GPU that supports it, else 32."""
    kind = device.partition(":")[0]
    has_bf16 = kind == "cpu" or (kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))
    can = {"cpu": ("32", "bf16"), "cuda": ("32", "fp16", *(["bf16"] * has_bf16)), "mps": ("32", "fp16")}[kind]
    if precision == "auto":
        return "bf16" if kind == "cuda" and has_bf16 else "32"
    if precision not in can:
        raise OptionError(f"precision={precision!r}: {device} can't train in it: choose one of auto, {', '.join(can)}.")
    return precision


def check_compiler() -> None:
    """Raise an OptionError for ``compile=True`` where no C++ compiler is installed."""
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else COMPILERS)):
        raise OptionError(
            f"compile=True needs a C++ compiler, and none of {compiler or ', '.join(COMPILERS)} was found. Install one (or set "
            "CXX to its path), or train without compile."
        )


def _check_processes(world: int) -> None:
    """Raise an OptionError if torchrun's number of processes differs from the options', as each would then train for itself."""
    started = int(os.environ.get("WORLD_SIZE", world)) if "TORCHELASTIC_RUN_ID" in os.environ else world
    if started != world:
        raise OptionError(
            f"torchrun started {started} processes, and devices times nodes is {world}: give devices= (--devices) the processes of "
            "one machine, and nodes= (--num-nodes) the machines."
        )


def _strategy(config: FitConfig) -> DDPStrategy:
    # Buffers are equal in all processes already: batch norm is synchronised.
    return DDPStrategy(broadcast_buffers=False, find_unused_parameters=config.freeze_encoder_epochs > 0)


def _loggers(config: FitConfig, folder: Path) -> list[Logger]:
    made: list[Logger] = []
    for name in config.loggers:
        require(name, extra=name, purpose=f"loggers={name!r}")
        loggers = pl.loggers
        if name == "tensorboard":
            made.append(loggers.TensorBoardLogger(folder, name="", version="tensorboard"))
        elif name == "mlflow":  # MLflow no longer writes plain folders
            where = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder.resolve() / 'mlflow.db'}")
            made.append(loggers.MLFlowLogger(experiment_name="bcdseg", run_name=folder.name, tracking_uri=where))
        else:
            made.append(loggers.WandbLogger(name=folder.name, project="bcdseg", save_dir=folder))
    return made
