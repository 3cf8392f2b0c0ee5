"""Process-wide settings and translated errors of a training run, and helpers of distributed training.

glibc returns large freed blocks to the system immediately, and a training step on a CPU frees and allocates the same gigabytes
again: a fifth of its time is spent on fresh, zeroed pages (benchmarks/train.py).
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import platform
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from bcdseg.errors import MemoryLimitError, OptionError
from bcdseg.training.config import FitConfig

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


ONE_VALUE = "Expected more than 1 value per channel"
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
    except MisconfigurationException as error:  # of callbacks, loggers and tasks of the user's own
        raise OptionError(f"PyTorch Lightning can't train with these callbacks, loggers or task: {error}") from error
    except ValueError as error:
        if ONE_VALUE not in str(error):
            raise
        raise OptionError(
            f"batch_size={config.batch_size}: a batch norm of this network gets one pixel of one scan ({error}). Give 2 or more "
            "scans per device, or create the model with a larger size."
        ) from error
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


def is_distributed() -> bool:
    """Return whether this process is one of several."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Return whether this process has rank 0, the one that writes files and prints."""
    return bool(rank_zero_only.rank == 0)


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a value over all processes. Each process must call this."""
    if not is_distributed():
        return value
    total = value.detach().clone()
    if dist.get_backend() == "nccl":  # nccl reduces CUDA tensors only
        total = total.to(torch.device("cuda", torch.cuda.current_device()))
    dist.all_reduce(total)
    return (total / dist.get_world_size()).to(value.device)


def gathered(items: list[Any]) -> list[Any]:
    """Return the items of all processes, in the order of their ranks. Each process must call this."""
    if not is_distributed():
        return items
    found: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, items)
    return [item for part in found for item in part]


def from_first(value: Any) -> Any:
    """Return the first process's value in all processes. Each process must call this."""
    if not is_distributed():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def synchronise(network: nn.Module, device: str) -> None:
    """Replace each batch norm by one that is synchronised over all processes; names and values of its tensors don't change."""
    if device == "cuda":
        convert_sync_batchnorm(network)
        return
    for name, child in list(network.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, SyncNorm(child))
        else:
            synchronise(child, device)


class SyncNorm(nn.BatchNorm2d):
    """Batch norm with the tensors of another one, whose mean and variance are computed over all processes."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)
        self.drop: nn.Module = getattr(norm, "drop", nn.Identity())  # timm's norms include what follows them
        self.act: nn.Module = getattr(norm, "act", nn.Identity())

    def forward(self, image: Tensor) -> Tensor:
        """Return the output that ``nn.BatchNorm2d`` would have for each process in a batch of the scans of all processes."""
        normed = self._shared(image) if self.training else super().forward(image)
        return self.act(self.drop(normed))  # type: ignore[no-any-return]

    def _shared(self, image: Tensor) -> Tensor:
        values = image.to(torch.promote_types(image.dtype, torch.float32))
        # Double precision, because the variance is a small difference of large numbers.
        sums = [term.sum(dim=(0, 2, 3), dtype=torch.float64) for term in (values, values.square())]
        count = sums[0].new_tensor([values.numel() / values.shape[1]])
        total: Tensor = _Sum.apply(torch.cat([*sums, count]))
        mean, square = (total[:-1] / total[-1]).chunk(2)
        variance = (square - mean.square()).clamp_min(0)
        self._remember(mean.detach(), variance.detach(), total[-1].detach())
        scale = (variance + self.eps).rsqrt()
        shift = (-mean * scale).to(values.dtype)
        scale = scale.to(values.dtype)
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return (values * scale[:, None, None] + shift[:, None, None]).to(image.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = float(self.num_batches_tracked) ** -1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)


class _Sum(torch.autograd.Function):
    """Differentiable sum over all processes; its gradient is summed too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(gradient)


def _summed(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
