"""Freed memory stays with the process while it trains.

glibc gives large blocks back to the system as soon as they are freed, and a training step on a CPU frees and asks for the same
gigabytes again: a fifth of its time goes into fresh, zeroed pages (benchmarks/train.py).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # names of mallopt(3)
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 256 << 20}
AS_USUAL = {MMAP_MAX: 65_536, TRIM_THRESHOLD: 128 << 10, TOP_PAD: 128 << 10}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed blocks for the next step; give them back at the end. Does nothing without glibc, or where the user set it."""
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
