"""Confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.plots.style import SHADES, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK = 0.55  # fraction from which a cell's text is white, because black would be unreadable


def confusion_figure(counts: NDArray[np.integer[Any]], classes: Sequence[str], *, title: str = "") -> Figure:
    """Draw the confusion matrix: scans of each true (rows) and predicted class (columns), shaded by their fraction of the row.

    Args:
        counts: Array of classes x classes.
        classes: Names of the classes, in the order of ``counts``.
        title: Title above the figure.
    """
    side = 1.8 + 0.85 * len(classes)
    figure = new_figure(side + 0.7, side)
    axes = figure.subplots()
    rows = counts.sum(axis=1, keepdims=True)
    fractions = counts / np.maximum(rows, 1)
    axes.imshow(fractions, cmap=SHADES, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        fraction = fractions[row, column]
        text = f"{count}\n{fraction:.0%}" if rows[row, 0] else "0"
        axes.text(column, row, text, ha="center", va="center", color="white" if fraction > DARK else "black")
    places = range(len(classes))
    axes.set_xticks(places, list(classes), rotation=30 if len(classes) > 3 else 0, parse_math=False)
    axes.set_yticks(places, [f"{name}\nn = {count}" for name, count in zip(classes, rows[:, 0], strict=True)], parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize="medium", parse_math=False)
    return figure
