"""Saves of a model that are killed at critical moments, each in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forked import run_forked

import bcdseg
from bcdseg import files

KILLED = 9


def _dies(*_: Any, **__: Any) -> None:
    os._exit(KILLED)


def _then_dies(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: (function(*arguments), _dies())


def before_the_swap() -> None:
    files._put = _dies


def after_the_swap() -> None:
    files._put = _then_dies(files._put)


def between_two_moves() -> None:
    files._exchange = lambda *_: False
    Path.replace = _then_dies(Path.replace)


def save_and_die(model: bcdseg.Model, folder: Path, prepare: Callable[[], None]) -> int:
    """Save a model in a process that dies, and return its exit status."""

    def save() -> None:
        prepare()
        model.save(folder, overwrite=True)

    return run_forked(save)
