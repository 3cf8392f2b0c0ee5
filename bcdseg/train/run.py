"""What a training run leaves: a trained model, a folder, and a history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bcdseg.csv_text import csv_text
from bcdseg.model.model import Model
from bcdseg.train.config import FitConfig

CONFIG, METRICS, LAST, BEST, MODEL, SEEN = "config.toml", "metrics.csv", "last.ckpt", "best.ckpt", "model", "seen.csv"
COMMAND, SPLIT = "command.toml", "split.json"
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training run.

    Attributes:
        model: The trained model, with the weights of the best epoch (their running average where ``ema`` is on).
        folder: Where the run lies: ``config.toml``, ``metrics.csv``, ``seen.csv``, ``last.ckpt``, ``best.ckpt``, pictures, and the
            model in ``model/``.
        history: Losses and measures of each epoch.
        config: The options it was trained with.
        best_epoch: The epoch of the best joint score, from 1.
        best_score: That score, see ``bcdseg.evaluation.metrics.joint.joint_score``; on validation scans, which chose it.
    """

    model: Model = field(repr=False)
    folder: Path
    history: tuple[dict[str, float], ...] = field(repr=False)
    config: FitConfig
    best_epoch: int
    best_score: float


def best_epoch(history: Sequence[Row]) -> int:
    """The epoch of the highest joint score, the first of equals, from 1; 0 when there is none."""
    scores = [row["joint"] for row in history]
    return scores.index(max(scores)) + 1 if scores else 0


def is_finished(history: Sequence[Row], config: FitConfig) -> bool:
    """Whether all epochs are done, or the joint score has not been better for as long as ``patience`` waits."""
    waited = len(history) - best_epoch(history)
    return len(history) >= config.epochs or (config.patience is not None and waited >= config.patience)


def metrics_csv(history: Sequence[Row]) -> bytes:
    """The history as a table, one row an epoch; a cell is empty where a measure is not known."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    return csv_text(columns, ([_cell(row[name]) if name in row else "" for name in columns] for row in history)).encode()


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else "" if math.isnan(value) else f"{value:.6g}"
