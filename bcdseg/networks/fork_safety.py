"""Torch threads in a forked process."""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakSet

import torch

_process = os.getpid()
_started: set[str] = set()
_lost: set[str] = set()
_natives: WeakSet[Any] = WeakSet()


def use_own_threads() -> None:
    """In a forked process use one thread: OpenMP would wait for ever for those that the fork has left behind."""
    global _process
    if _process != os.getpid():
        torch.set_num_threads(1)
        _process = os.getpid()


def note_threads(library: str) -> None:
    """Note that a library has threads in this process from now on, so that no forked child uses it.

    Args:
        library: Its name, for ``has_lost_threads``.
    """
    _started.add(library)


def has_lost_threads(library: str) -> bool:
    """Return whether a library would wait for ever in this process, for threads of the process that it was forked from."""
    return library in _lost


def never_destroy_in_children(owner: Any) -> None:
    """Keep an object for ever in forked children: the destructors of what it holds would wait for threads there.

    Args:
        owner: An object that can be referred to weakly, such as a function.
    """
    _natives.add(owner)


def _begin_child() -> None:
    _lost.update(_started)
    for owner in _natives:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))  # a list of them would be cleared when the interpreter ends


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
