"""Construction of the Lightning trainer from the options of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ProgressBar, WeightAveraging
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.runtimes.torch_runtime import choose_device
from bcdseg.training.config import FitConfig
from bcdseg.training.loop.callbacks import WholeFiles

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
