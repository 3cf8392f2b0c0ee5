"""Torch in a forked process."""

from __future__ import annotations

import os

import torch

_process = os.getpid()


def use_own_threads() -> None:
    """In a forked process use one thread: OpenMP would wait for ever for those that the fork has left behind."""
    global _process
    if _process != os.getpid():
        torch.set_num_threads(1)
        _process = os.getpid()
