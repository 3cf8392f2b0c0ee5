"""Training changes settings of the whole process, and Lightning likes to talk: here both are kept within bounds."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

LOGGERS = ("pytorch_lightning", "lightning_fabric")
VARIABLES = ("OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")


@contextmanager
def as_it_was() -> Iterator[None]:
    """Leave random states, torch's switches, threads, how processes start, and Ctrl-C's handler as they were found."""
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
def quietly() -> Iterator[None]:
    """Without Lightning's tips, and without its warnings that a user of this library can do nothing about."""
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
    """Torch can be told, and not be asked."""
    return bool((torch.tensor([1e-38]) * 1e-3 == 0).all())


def _set_variables(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
