"""Figures drawn during training."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from bcdseg.evaluation.plots.charts import confusion_figure, draw_outlines, name_outlines
from bcdseg.evaluation.plots.style import LINES, PANEL, add_legend, new_figure, save_figure, style_axes
from bcdseg.messages import percent
from bcdseg.networks.network import Output
from bcdseg.training.data.loaders import Batch
from bcdseg.training.loop.epoch_metrics import ScanMetrics, scan_metrics
from bcdseg.training.loop.task import SegmentationClassificationTask
from bcdseg.training.run import best_epoch
from bcdseg.types import Mask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, float]
MEASURES = "on validation scans"
FEW = 12  # most epochs for which each epoch gets a dot
PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("mask loss", {"mask_loss": "training", "val_mask_loss": "validation"}),
    ("class loss", {"class_loss": "training", "val_class_loss": "validation"}),
    (
        MEASURES,
        {
            "joint": "joint score",
            "val_dice": "Dice of lesions",
            "val_clean": "scans without a lesion in which nothing is outlined",
            "val_balanced_accuracy": "balanced accuracy of classes",
        },
    ),
)
"""Title of each panel, and the columns of the history that it shows."""


def curves_figure(history: Sequence[Row]) -> Figure:
    """Draw a panel for each task's loss and one for the metrics, with the best epoch marked; unknown columns are omitted."""
    panels = [(title, drawn) for title, columns in PANELS if (drawn := _known(columns, history))]
    figure = new_figure(PANEL * max(1, len(panels)), 4.2)
    for axes, (title, columns) in zip(figure.subplots(1, max(1, len(panels)), squeeze=False)[0], panels, strict=False):
        _draw(axes, history, columns)
        style_axes(axes, title=title, x="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set_xlim(0.5, max(row["epoch"] for row in history) + 0.5)
        axes.set_ylim(0, 1.02 if title == MEASURES else 1.08 * max(row.get(column, 0) for row in history for column in columns))
        add_legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return figure


def _known(columns: Mapping[str, str], history: Sequence[Row]) -> dict[str, str]:
    return {column: name for column, name in columns.items() if any(column in row for row in history)}


def _draw(axes: Any, history: Sequence[Row], columns: Mapping[str, str]) -> None:
    best = best_epoch(history)
    marker = "." if len(history) <= FEW else None
    for style, (column, name) in zip(LINES, columns.items(), strict=False):
        rows = [row for row in history if column in row]
        axes.plot([row["epoch"] for row in rows], [row[column] for row in rows], marker=marker, label=name, **style)
    axes.axvline(best, color="#8c959f", linewidth=1, label=f"best epoch: {best}")


CURVES, WORST, CONFUSION = "curves.png", "worst.png", "confusion.png"
SHOWN = 8
"""Number of scans in ``worst.png``."""

REST = 30
"""Least pause between two drawings as a multiple of the drawing time, so that short epochs don't wait for figures."""

FIRST = 20.0
"""Seconds of training before the first drawing: a shorter run is drawn once, at its end."""


@dataclass(frozen=True, eq=False)
class ValidationScan:
    """Validation scan as the network's input, with the true and the predicted mask."""

    case: ScanMetrics
    image: NDArray[np.uint8]
    truth: Mask | None
    predicted: Mask | None

    @property
    def error(self) -> float:
        """Error from 0 to 1: the mean of one minus Dice and one minus the true class's probability."""
        case, errors = self.case, []
        if case.dice is not None:
            errors.append(1 - case.dice)
        if case.label is not None and case.probabilities is not None:
            errors.append(1 - float(case.probabilities[case.label]))
        return sum(errors) / len(errors) if errors else math.nan


class Pictures(pl.Callback):  # type: ignore[misc]
    """Callback that draws figures in the first process.

    A figure that can't be drawn or written causes one warning, and training continues.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.classes = tuple(classes)
        self._worst: list[ValidationScan] = []
        self._failed: set[str] = set()
        self._waiting = False
        self._again_at = 0.0

    def on_train_start(self, *_: Any) -> None:
        """Set the time of the first drawing; called by Lightning."""
        self._again_at = time.monotonic() + FIRST

    def on_validation_epoch_start(self, *_: Any) -> None:
        """Remove the worst scans of the last validation; called by Lightning."""
        self._worst = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, _task: SegmentationClassificationTask, output: Output, batch: Batch, *_: Any
    ) -> None:
        """Keep the worst scans so far, with the masks of the validated weights."""
        if trainer.is_global_zero:
            scans = [scan for scan in validation_scans(batch, output) if not math.isnan(scan.error)]
            self._worst = sorted([*self._worst, *scans], key=lambda scan: -scan.error)[:SHOWN]

    def on_train_epoch_end(self, trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:
        """Draw, unless the last drawing was too recent."""
        self._waiting = trainer.is_global_zero
        if self._waiting and time.monotonic() >= self._again_at:
            self._draw(task)

    def on_train_end(self, _trainer: pl.Trainer, task: SegmentationClassificationTask) -> None:
        """Draw the last epochs."""
        if self._waiting:
            self._draw(task)

    def on_exception(self, trainer: pl.Trainer, task: SegmentationClassificationTask, _error: BaseException) -> None:
        """Draw the epochs so far when a run is stopped."""
        self.on_train_end(trainer, task)

    def _draw(self, task: SegmentationClassificationTask) -> None:
        started = time.monotonic()
        self._write(CURVES, lambda: curves_figure(task.history))
        if self._worst:
            self._write(WORST, lambda: worst_figure(self._worst, self.classes))
        if any(case.label is not None and case.probabilities is not None for case in task.validation):
            title = f"validation scans, epoch {len(task.history)}"
            self._write(CONFUSION, lambda: confusion_figure(count_confusions(task.validation), self.classes, title=title))
        self._waiting = False
        self._again_at = time.monotonic() + REST * (time.monotonic() - started)

    def _write(self, name: str, figure: Callable[[], Figure]) -> None:
        try:
            save_figure(figure(), self.folder / name, overwrite=True)
        except Exception as error:  # no error of a figure may stop the training
            if name not in self._failed:
                warnings.warn(f"{self.folder / name}: can't be drawn or written ({error}). Training continues.", stacklevel=2)
            self._failed.add(name)


def pictures(folder: Path, classes: Sequence[str]) -> list[pl.Callback]:
    """Return the callbacks that draw a run's figures into its folder, for Lightning's trainer.

    Args:
        folder: Folder of the run.
        classes: Classes of the model, in its order; empty for a model that only segments.
    """
    return [Pictures(folder, classes)]


def validation_scans(batch: Batch, output: Output) -> list[ValidationScan]:
    """Return the scans of a validation batch with their true and predicted masks."""
    images = batch.image.float().mean(dim=1).cpu().numpy()
    truths = (batch.truth.mask[:, 0] > 0.5).cpu().numpy()
    outlines = [None] * len(batch) if output.mask is None else list((output.mask[:, 0] > 0).cpu().numpy())
    return [
        ValidationScan(case, _gray(images[row]), truths[row] if case.truth_area is not None else None, outlines[row])
        for row, case in enumerate(scan_metrics(batch, output))
    ]


def worst_figure(scans: Sequence[ValidationScan], classes: Sequence[str]) -> Figure:
    """Draw the scans with their outlines, the worst first."""
    columns = min(4, len(scans))
    rows = -(-len(scans) // columns)
    figure = new_figure(2.9 * columns, 3.7 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, scan in zip(grid, scans, strict=False):
        draw_outlines(axes, scan.image, truth=scan.truth, predicted=scan.predicted, title=_title(scan.case, classes))
    if any(scan.truth is not None or scan.predicted is not None for scan in scans):
        name_outlines(figure)
    return figure


def count_confusions(cases: Sequence[ScanMetrics]) -> NDArray[np.int64]:
    """Return the confusion matrix: scans of each class (rows) by predicted class (columns)."""
    known = [(case.label, case.probabilities) for case in cases if case.label is not None and case.probabilities is not None]
    classes = len(known[0][1])
    places = [label * classes + int(probabilities.argmax()) for label, probabilities in known]
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def _title(case: ScanMetrics, classes: Sequence[str]) -> str:
    lines = [case.id if len(case.id) <= 34 else f"…{case.id[-33:]}"]
    if case.probabilities is not None and len(classes):
        predicted = int(case.probabilities.argmax())
        truth = f"{classes[case.label]} " if case.label is not None else ""
        lines.append(f"{truth}predicted {classes[predicted]}, {percent(case.probabilities[predicted])}")
    if case.dice is not None:
        lines.append(
            f"Dice {case.dice:.2f}" if case.truth_area else "no lesion, " + ("one outlined" if case.outlined else "none outlined")
        )
    return "\n".join(lines)


def _gray(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert the network's input to 8 bits, scaled from its darkest to its brightest pixel."""
    low, high = float(image.min()), float(image.max())
    return ((image - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
