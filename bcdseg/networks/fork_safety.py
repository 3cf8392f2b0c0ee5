"""Thread safety of torch and other libraries in forked processes."""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakSet

_process = os.getpid()
_started: set[str] = set()
_lost: set[str] = set()
_natives: WeakSet[Any] = WeakSet()


def use_own_threads() -> None:
    """Use one torch thread in a forked process: OpenMP would wait forever for threads that the fork hasn't copied."""
    global _process
    if _process != os.getpid():
        import torch

        torch.set_num_threads(1)
        _process = os.getpid()


def note_threads(library: str) -> None:
    """Record that a library has started threads in this process, so that no forked child uses it.

    Args:
        library: Name of the library, for ``has_lost_threads``.
    """
    _started.add(library)


def has_lost_threads(library: str) -> bool:
    """Return whether a library would wait forever in this process for threads of its parent process."""
    return library in _lost


def never_destroy_in_children(owner: Any) -> None:
    """Keep an object alive in forked children, where the destructors of its contents would wait for missing threads.

    Args:
        owner: Object that supports weak references, such as a function.
    """
    _natives.add(owner)


def _initialise_child() -> None:
    _lost.update(_started)
    for owner in _natives:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))  # a list of references would be cleared when the interpreter exits


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_initialise_child)
