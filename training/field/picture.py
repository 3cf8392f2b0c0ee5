"""The picture of the page: a row per recipe, and along it the accuracy that is claimed and those that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from figures import COLUMNS

from bcdseg.evaluation.measures.measure import Estimate
from bcdseg.evaluation.plots.style import BLACK, BLUE, GREEN, ORANGE, VERMILLION, figure_bytes, new_figure, style_axes

MARKS = dict(zip(COLUMNS, ((BLUE, "o"), (GREEN, "s"), (VERMILLION, "^"), (ORANGE, "v")), strict=True))
TITLES = {"random split": "random split", "no copies across": "no copies across"}
APART = 0.17  # of a row: distance of the marks of one recipe


@dataclass(frozen=True)
class Row:
    """One recipe.

    Attributes:
        name: Name of the recipe.
        claimed: Accuracy that is claimed, or None.
        measured: Accuracy in each column of the table that was run.
        constant: Accuracy of predicting benign for every scan of the held-back part.
    """

    name: str
    claimed: float | None
    measured: Mapping[str, Estimate]
    constant: float


def draw(rows: Sequence[Row]) -> bytes:
    """Return the picture as the content of a PNG file."""
    figure = new_figure(8.0, 1.3 + 0.85 * len(rows))
    axes = figure.subplots()
    style_axes(axes, x="accuracy on scans not trained on, %")
    for at, row in enumerate(rows):
        if row.claimed is not None:
            axes.plot(100 * row.claimed, at - 0.36, marker="D", markersize=8, color=BLACK, markerfacecolor="white", linestyle="")
            axes.annotate(f"claimed {100 * row.claimed:.0f} %", (100 * row.claimed, at - 0.36), (-9, 0), textcoords="offset points",
                          ha="right", va="center", fontsize="small")  # fmt: skip
        axes.plot([100 * row.constant] * 2, [at - 0.42, at + 0.42], color="#8c959f", linewidth=1, linestyle=":")
        for place, (title, (colour, marker)) in enumerate(MARKS.items()):
            if (one := row.measured.get(title)) is not None and one.value is not None:
                _mark(axes, one, at - 0.17 + APART * place, colour, marker)
    for title, (colour, marker) in MARKS.items():
        axes.plot([], [], marker=marker, color=colour, label=TITLES.get(title, f"another hospital: {title}"))
    axes.plot([], [], color="#8c959f", linestyle=":", label="benign predicted for every held-back scan")
    axes.set_yticks(range(len(rows)), [row.name.replace(", ", "\n") for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.6)
    axes.set_xlim(0, 102)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure_bytes(figure)


def _mark(axes: Any, one: Estimate, at: float, colour: str, marker: str) -> None:
    if one.low is not None and one.high is not None:
        axes.plot([100 * one.low, 100 * one.high], [at, at], color=colour, linewidth=2)
    axes.plot(100 * one.value, at, marker=marker, markersize=7, color=colour, linestyle="")
