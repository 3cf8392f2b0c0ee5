"""The scripts of ``training/`` with short settings."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

import bcdseg

SCRIPTS = Path(__file__).parents[2] / "training"
MODULES = (
    "busi_lite",
    "calibration",
    "card",
    "choices",
    "cross_validate",
    "encoders",
    "options",
    "out_of_fold",
    "recipe",
    "reports",
    "robustness",
    "scans",
)
Script = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Return a function that runs a script with its arguments, with short training and few draws."""
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)  # of another folder
    recipe, scans = importlib.import_module("recipe"), importlib.import_module("scans")
    monkeypatch.setattr(recipe, "STAGES", (recipe.Stage(32, 1, 1e-3), recipe.Stage(64, 1, 1e-3)))
    monkeypatch.setattr(recipe, "SIZE", 48)
    monkeypatch.setattr(scans, "FOLDS", 2)
    made = importlib.import_module("busi_lite")
    monkeypatch.setattr(made, "ENCODER", "plain_cnn")
    monkeypatch.setattr(made, "WEIGHTS", None)
    monkeypatch.setattr(bcdseg, "evaluate_predictions", partial(bcdseg.evaluate_predictions, draws=50, gallery=0))
    monkeypatch.setattr(importlib.import_module("choices"), "DRAWS", 20)
    corruptions = importlib.import_module("robustness").CORRUPTIONS
    monkeypatch.setattr(importlib.import_module("robustness"), "CORRUPTIONS", dict(islice(corruptions.items(), 2)))

    def run(script: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        importlib.import_module(script).main()

    yield run
    for name in MODULES:
        sys.modules.pop(name, None)
