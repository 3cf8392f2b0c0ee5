"""Results of each fold with the cost of its network, stored so that a stopped benchmark resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bcdseg.data.dataset import Dataset
from bcdseg.errors import DatasetError, OptionError
from bcdseg.evaluation.metrics.outline import Outline
from bcdseg.evaluation.results_table import Case, Cases, as_case, table_of
from bcdseg.files import write_whole
from bcdseg.inference.writers import json_bytes
from bcdseg.model.model import Model

TIMED = 32


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of running and training a model.

    Attributes:
        parameters: Number of trained parameters.
        gflops: Floating-point operations for one scan in units of 10^9; a multiplication and an addition count as two.
        seconds_per_scan: Time from file to prediction on the benchmark's machine, one scan after the other.
        training_minutes: Time of training and validation of one fold.
        device: Device on which the model ran.
    """

    parameters: int
    gflops: float
    seconds_per_scan: float
    training_minutes: float
    device: str


def parameters(model: Model) -> int:
    """Return the number of parameters of a network."""
    return sum(tensor.numel() for tensor in model.network.parameters())


def gflops(model: Model) -> float:
    """Return the floating-point operations, in units of 10^9, for one scan of the network's input size."""
    config, (height, width) = model.network.config, model.preprocessing.frame
    device = next(model.network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network.eval()(torch.zeros(1, config.in_channels, height, width, device=device))
    return float(counter.get_total_flops()) / 1e9


def seconds_per_scan(model: Model, dataset: Dataset) -> float:
    """Return the mean time from file to prediction, one scan after the other.

    An untimed prediction comes first, because it prepares the model.
    """
    paths = [sample.image for sample in dataset][:TIMED]
    model.predict(paths[0])
    start = time.perf_counter()
    for path in paths:
        model.predict(path)
    return (time.perf_counter() - start) / len(paths)


RESULT, SETTINGS = "result.json", "settings.json"
FORMAT, VERSION = "bcdseg benchmark fold", 1


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """The result of one fold.

    Attributes:
        number: Number of the fold.
        best_epoch: Epoch with the best validation score.
        epochs: Number of trained epochs.
        best_score: Joint score of the best epoch on the validation scans.
        cost: Cost of the model.
        cases: Results table of the test part.
    """

    number: int
    best_epoch: int
    epochs: int
    best_score: float
    cost: Cost
    cases: Cases


def save_result(result: FoldResult, folder: Path) -> None:
    """Write a fold's result."""
    cases = result.cases
    content = {
        "format": FORMAT,
        "version": VERSION,
        "number": result.number,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "best_score": result.best_score,
        "cost": asdict(result.cost),
        "classes": cases.classes,
        "no_lesion": cases.no_lesion,
        "cases": [asdict(as_case(cases, at)) for at in range(len(cases))],
    }
    write_whole(folder / RESULT, json_bytes(content), durable=True)


def load_result(folder: Path) -> FoldResult | None:
    """Read a fold's result, or return None when the fold is not finished."""
    if not (folder / RESULT).exists():
        return None
    content = read_json(folder / RESULT, FORMAT, VERSION)
    try:
        rows = [_case(row) for row in content["cases"]]
        return FoldResult(
            number=content["number"],
            best_epoch=content["best_epoch"],
            epochs=content["epochs"],
            best_score=content["best_score"],
            cost=Cost(**content["cost"]),
            cases=table_of(rows, classes=content["classes"], no_lesion=content["no_lesion"]),
        )
    except (KeyError, TypeError) as error:
        raise _damaged(folder / RESULT, repr(error)) from error


def keep_settings(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a recipe's settings, or check that existing folds were run with the same.

    Raises:
        OptionError: Existing folds were run with other options; the message names them.
    """
    path = folder / SETTINGS
    now = json.loads(json_bytes(settings))
    if not path.exists():
        write_whole(path, json_bytes(settings), durable=True)
        return
    there = read_json(path)
    changed = [
        f"{name}={value!r} ({there[part].get(name)!r} there)"
        for part, values in now.items()
        if part in there  # earlier versions wrote fewer parts
        for name, value in values.items()
        if there[part].get(name) != value
    ]
    if changed:
        raise OptionError(
            f"{folder}: its folds were run with other options: {', '.join(changed)}. "
            "Leave them as they were, or choose another folder."
        )


def read_json(path: Path, format: str | None = None, version: int | None = None) -> Any:
    """Read a JSON object that a benchmark wrote."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    found = (content.get("format"), content.get("version")) if isinstance(content, dict) else None
    if found is None or (format is not None and found != (format, version)):
        raise _damaged(path, f"it is not a {format} of version {version}")
    return content


def _case(row: dict[str, Any]) -> Case:
    outline = None if row["outline"] is None else Outline(**row["outline"])
    return Case(**{**row, "outline": outline, "size": tuple(row["size"])})


def _damaged(path: Path, why: str) -> DatasetError:
    return DatasetError(f"{path}: can't be read ({why}). Remove it, and this part of the benchmark is run again.")
