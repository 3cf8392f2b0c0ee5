"""Choice of the device of predictions."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

from bcdseg.errors import OptionError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> str:
    """Return the device with a name; ``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        OptionError: The name is unknown, or the device is not available.
    """
    name = str(name)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise OptionError(f"device={name!r} is unknown: choose one of {', '.join(DEVICES)}.")
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return "cpu"
    available = _available()
    if name == "auto":
        return next((kind for kind, is_available in available.items() if is_available), "cpu")
    if not available[name.partition(":")[0]]:
        raise OptionError(f"device={name!r}: this machine has none that PyTorch can use. Choose cpu or auto.")
    return name


def _available() -> dict[str, bool]:
    import torch  # takes seconds, so only where there may be a GPU

    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def _may_have_gpu() -> bool:
    """Return whether torch may find a GPU. On Linux it needs NVIDIA's driver library or AMD's device file for that."""
    if not sys.platform.startswith("linux") or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
