"""Folder and result of a training run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import nn

from bcdseg.data.dataset import Dataset
from bcdseg.data.hashing import ground_truth_hash
from bcdseg.errors import DatasetError, OptionError, OutputError, OutputExistsError
from bcdseg.files import is_part, make_folder, remove_parts_below, write_whole
from bcdseg.messages import name_some
from bcdseg.model.model import Model
from bcdseg.table_text import csv_text, html_table, read_csv
from bcdseg.training.config import FitConfig, read_config, to_toml
from bcdseg.training.custom import CUSTOM, Custom

RUNS = Path("runs")
MAY_DIFFER = ("workers", "cache", "cache_gb", "device", "devices", "nodes", "strategy", "loggers", "pictures", "progress")
"""Options that may differ in a resumed run: they change how it is computed, and not its result."""

COPIES = 8
"""Copies of the weights in two checkpoints: weights, average, and two numbers per weight of the optimiser."""


def new_folder(out: Path | None, encoder: str, start: Mapping[str, bytes]) -> Path:
    """Create a folder for a run: ``out``, or the first of ``runs/ENCODER-1``, ``-2`` ... that is free.

    ``out`` may be empty, or contain only files of ``start``, which a run that was killed while it started has left there.
    """
    if out is not None and out.exists():
        if not out.is_dir() or any(not is_part(path) and not _is_written(path, start) for path in out.iterdir()):
            raise OutputExistsError(
                f"{out}: exists already. Choose another folder, or resume the run in it: resume=True, --resume."
            )
        remove_parts_below(out)
    try:
        if out is None:
            return _first_free(encoder.replace("/", "-"))
        make_folder(out)
        return out
    except OSError as error:
        raise OutputError(f"{out or RUNS}: can't be written ({error.strerror}). Choose another place for the run.") from error


def check_space(folder: Path, network: nn.Module) -> None:
    """Raise an OutputError where the disk has no space for the checkpoints."""
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    needed, free = COPIES * weights + 2**24, shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder}: the disk has {free / 2**20:.0f} MiB free, and the run's checkpoints need {needed / 2**20:.0f} MiB. "
            "Free disk space, or choose another place for the run."
        )


def files_at_start(train: Dataset, val: Dataset, custom: Custom, notes: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that are written before the options: the run's scans, the caller's objects, and notes."""
    return {**notes, **({CUSTOM: custom.text} if custom.text else {}), SEEN: _seen_csv(train, val)}


def write_start(folder: Path, start: Mapping[str, bytes], config: FitConfig) -> None:
    """Write the first files of a run. The options come last: a folder with them counts as a run."""
    for name, content in {**start, CONFIG: to_toml(config).encode()}.items():
        write_whole(folder / name, content, overwrite=True, durable=True)


def config_to_resume(folder: Path, given: FitConfig | None) -> FitConfig:
    """Return the config of an existing run, with the options that may differ taken from the given one.

    Raises:
        OptionError: The folder contains no run, or the given config differs from the run's in other options.
    """
    if not (folder / CONFIG).is_file():
        raise OptionError(f"{folder}: contains no run to resume ({CONFIG} is missing).")
    saved = read_config(folder / CONFIG)
    if given is None:
        return saved
    names = [field.name for field in fields(FitConfig) if field.name not in MAY_DIFFER]
    other = [f"{name}={getattr(given, name)!r} ({getattr(saved, name)!r} there)" for name in names if _differs(saved, given, name)]
    if other:
        raise OptionError(f"{folder}: the run has other options: {', '.join(other)}. Leave them out, or start a new run.")
    return given


def check_same_scans(folder: Path, train: Dataset, val: Dataset) -> None:
    """Raise a DatasetError when the scans differ from those that the run was started with."""
    try:
        recorded = _table((folder / SEEN).read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{folder}: {SEEN} is missing: the scans of the run are not known. Start a new run.") from None
    columns = list(recorded[0]) if recorded else []  # earlier versions did not write the hash
    then, now = (_rows(rows, columns) for rows in (recorded, _table(_seen_csv(train, val))))
    if then != now:
        changes = {"only now": sorted(now - then), "only then": sorted(then - now)}
        differences = "; ".join(f"{when}: {name_some([f'({row})' for row in rows])}" for when, rows in changes.items() if rows)
        raise DatasetError(
            f"{folder}: the run was started with other scans ({', '.join(columns)}). {differences}. "
            "Give the data of the run, or start a new run."
        )


def _first_free(encoder: str) -> Path:
    number = 1
    while True:
        try:
            folder = RUNS / f"{encoder}-{number}"
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def _is_written(path: Path, start: Mapping[str, bytes]) -> bool:
    return path.name in start and path.is_file() and path.read_bytes() == start[path.name]


def _differs(saved: FitConfig, given: FitConfig, name: str) -> bool:
    return bool(getattr(saved, name) != getattr(given, name))


def _seen_csv(train: Dataset, val: Dataset) -> bytes:
    """Return a table with one row per scan; no other file of a run contains their names. The hash is that of image and masks."""
    rows = [
        [part, one.id, one.label or "", len(one.masks), one.group or "", ground_truth_hash(one)]
        for part, dataset in (("train", train), ("val", val))
        for one in dataset
    ]
    return csv_text(["part", "id", "label", "masks", "group", "hash"], rows).encode("utf-8", "surrogateescape")


def _table(content: bytes) -> list[dict[Any, Any]]:
    return read_csv(content.decode("utf-8", "surrogateescape"))


def _rows(rows: list[dict[Any, Any]], columns: Sequence[str]) -> set[str]:
    """Return each row as text."""
    return {",".join(str(row.get(name)) for name in columns) for row in rows}


CONFIG, METRICS, LAST, BEST, MODEL, SEEN = "config.toml", "metrics.csv", "last.ckpt", "best.ckpt", "model", "seen.csv"
SECONDS = "seconds"
COMMAND, SPLIT = "command.toml", "split.json"
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Finished training run.

    Attributes:
        model: The trained model, with the weights of the best epoch (their moving average where ``ema`` is on).
        folder: Folder of the run: ``config.toml``, ``metrics.csv``, ``seen.csv``, ``last.ckpt``, ``best.ckpt``, figures, and the
            model in ``model/``.
        history: Losses and metrics of each epoch.
        config: The options of the run.
        best_epoch: The epoch of the best joint score, from 1.
        best_score: The best joint score, see ``bcdseg.evaluation.metrics.classification.joint_score``; it is measured on the
            validation scans, which selected the epoch.
    """

    model: Model = field(repr=False)
    folder: Path
    history: tuple[dict[str, float], ...] = field(repr=False)
    config: FitConfig
    best_epoch: int
    best_score: float

    def _repr_html_(self) -> str:
        rows = [
            ("best epoch", f"{self.best_epoch} of {len(self.history)}"),
            ("joint score", f"{self.best_score:.3f}"),
            ("model", self.model.name),
            ("folder", self.folder),
        ]
        return html_table("Training run", rows)


def best_epoch(history: Sequence[Row]) -> int:
    """Return the epoch of the highest joint score, the first of equals, from 1; 0 when there is none."""
    scores = [row["joint"] for row in history]
    return scores.index(max(scores)) + 1 if scores else 0


def is_finished(history: Sequence[Row], config: FitConfig) -> bool:
    """Return whether all epochs are done, or the joint score has not improved for ``patience`` epochs."""
    waited = len(history) - best_epoch(history)
    return len(history) >= config.epochs or (config.patience is not None and waited >= config.patience)


def metrics_csv(history: Sequence[Row]) -> bytes:
    """Return the history as a table, one row per epoch; a cell is empty where a metric is not known."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    return csv_text(columns, ([_cell(row[name]) if name in row else "" for name in columns] for row in history)).encode()


def with_seconds(history: Sequence[Row], folder: Path) -> list[dict[str, float]]:
    """Return the history of a checkpoint with the seconds of its epochs, which only the table of metrics contains."""
    table = folder / METRICS
    rows = read_csv(table.read_text()) if table.exists() else []
    seconds = {int(row["epoch"]): {SECONDS: float(row[SECONDS])} for row in rows if row.get(SECONDS)}
    return [{**seconds.get(int(row["epoch"]), {}), **row} for row in history]


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else "" if math.isnan(value) else f"{value:.6g}"
