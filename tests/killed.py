"""Saves of a model that are killed at critical moments, each in a process of its own: killed.py FOLDER."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def _save_and_die(model: bcdseg.Model, folder: Path, prepare: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        prepare()
        model.save(folder, overwrite=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED, prepare.__name__


def _thresholds(folder: Path) -> float:
    return bcdseg.load(folder, runtime="torch").rules.threshold


if __name__ == "__main__":
    home = Path(sys.argv[1])
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32, decoder_channels=(8, 8, 8, 8, 8))
    for prepare, left in ((before_the_swap, 0.3), (after_the_swap, 0.4), (between_two_moves, 0.3)):
        folder = home / prepare.__name__
        model.rules = bcdseg.Rules(threshold=0.3)
        model.save(folder)
        model.rules = bcdseg.Rules(threshold=0.4)
        _save_and_die(model, folder, prepare)
        assert len(list(home.iterdir())) > 1, "the killed writer left something"
        assert _thresholds(folder) == left, prepare.__name__
        model.rules = bcdseg.Rules(threshold=0.5)
        model.save(folder, overwrite=True)
        assert _thresholds(folder) == 0.5
        assert {path.name for path in home.iterdir()} == {folder.name}, sorted(home.iterdir())
        folder.rename(home.parent / folder.name)
