"""Lightning's trainer for a run, and the process-wide settings and error translation around it.

glibc returns large freed blocks to the system at once, and a training step on a CPU frees and allocates the same gigabytes
again: a fifth of its time is spent on fresh, zeroed pages (benchmarks/train.py).
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ProgressBar, WeightAveraging
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bcdseg.errors import MemoryLimitError, OptionError
from bcdseg.extras import require
from bcdseg.runtimes.device import choose_device
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


LOGGERS = ("pytorch_lightning", "lightning_fabric")
VARIABLES = ("OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")


@contextmanager
def preserve_global_state() -> Iterator[None]:
    """Restore random states, torch's switches, threads, the start method of processes, and Ctrl-C's handler on exit."""
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(random.setstate, random.getstate())
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(torch.set_flush_denormal, _flushes_denormals())
        deterministic, warn_only = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        stack.callback(torch.use_deterministic_algorithms, deterministic, warn_only=warn_only)
        for switch in ("benchmark", "deterministic"):
            stack.callback(setattr, torch.backends.cudnn, switch, getattr(torch.backends.cudnn, switch))
        stack.callback(multiprocessing.set_start_method, multiprocessing.get_start_method(allow_none=True), force=True)
        if "cv2" in sys.modules:
            stack.callback(sys.modules["cv2"].setNumThreads, sys.modules["cv2"].getNumThreads())
        stack.callback(_set_variables, {name: os.environ.get(name) for name in VARIABLES})
        if threading.current_thread() is threading.main_thread():
            stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        yield


@contextmanager
def silence_lightning() -> Iterator[None]:
    """Silence Lightning's tips, and its warnings that a user of this library can't act on."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    with warnings.catch_warnings():
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
            warnings.filterwarnings("ignore", module=rf"{name}\..*")
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _flushes_denormals() -> bool:
    """Return whether torch flushes denormals; torch has a setter and no getter."""
    return bool((torch.tensor([1e-38]) * 1e-3 == 0).all())


def _set_variables(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


NO_MEMORY = ("can't allocate memory", "not enough memory", "killed by signal", "out of memory")


@contextmanager
def translate_errors(folder: Path, config: FitConfig) -> Iterator[None]:
    """Translate torch's errors that a user can act on into the library's; all others pass."""
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning exits the program at Ctrl-C
            raise KeyboardInterrupt(f"Stopped. {_how_to_resume(folder)}") from None
        raise
    except torch.OutOfMemoryError as error:
        raise MemoryLimitError(_no_memory(folder, config)) from error
    except RuntimeError as error:
        if any(words in str(error) for words in NO_MEMORY):
            raise MemoryLimitError(_no_memory(folder, config)) from error
        if "deterministic" in str(error) and config.deterministic:
            raise OptionError(f"deterministic=True is not possible with this network on this device: {error}") from error
        raise


def _no_memory(folder: Path, config: FitConfig) -> str:
    smaller = max(1, config.batch_size // 2)
    return (
        f"The memory does not suffice for batch_size={config.batch_size}. Try batch_size={smaller} with accumulate="
        f"{2 * config.accumulate}, which trains alike; a smaller size of the model's scans; precision='bf16' or 'fp16' on a GPU; "
        f"or, if it is the machine's memory that is full, workers=0 or a smaller cache_gb. {_how_to_resume(folder)}"
    )


def _how_to_resume(folder: Path) -> str:
    return f"{folder} contains whole files only; resume=True, --resume, resumes the run with the same options."


TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # parameters of mallopt(3)
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 256 << 20}
AS_USUAL = {MMAP_MAX: 65_536, TRIM_THRESHOLD: 128 << 10, TOP_PAD: 128 << 10}


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed blocks for the next step, and release them at the end. Does nothing without glibc, or where the user set it."""
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        yield
        return
    libc = ctypes.CDLL(None)
    _set(libc, KEEP)
    try:
        yield
    finally:
        _set(libc, AS_USUAL)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, values: dict[int, int]) -> None:
    for name, value in values.items():
        libc.mallopt(name, value)
