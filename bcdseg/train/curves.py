"""Losses and measures of a run as curves over its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bcdseg.evaluation.plots.style import LINES, PANEL, new_figure, style_axes
from bcdseg.train.run import best_epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, float]
MEASURES = "on validation scans"
FEW = 12  # epochs of which each gets a dot
PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("mask loss", {"mask_loss": "training", "val_mask_loss": "validation"}),
    ("class loss", {"class_loss": "training", "val_class_loss": "validation"}),
    (
        MEASURES,
        {
            "joint": "joint score",
            "val_dice": "Dice of lesions",
            "val_clean": "scans without lesion left clean",
            "val_balanced_accuracy": "balanced accuracy of classes",
        },
    ),
)
"""Title of each panel, and the columns of the history that are drawn in it."""


def curves_figure(history: Sequence[Row]) -> Figure:
    """A panel for each task's loss and one for the measures, with the best epoch marked; what isn't known is left out."""
    panels = [(title, drawn) for title, columns in PANELS if (drawn := _known(columns, history))]
    figure = new_figure(PANEL * max(1, len(panels)), 4.2)
    for axes, (title, columns) in zip(figure.subplots(1, max(1, len(panels)), squeeze=False)[0], panels, strict=False):
        _draw(axes, history, columns)
        style_axes(axes, title=title, x="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set_xlim(0.5, max(row["epoch"] for row in history) + 0.5)
        axes.set_ylim(0, 1.02 if title == MEASURES else 1.08 * max(row.get(column, 0) for row in history for column in columns))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False, fontsize="small")
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
