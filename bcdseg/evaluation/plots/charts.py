"""Confusion matrix, distribution of Dice, forest plot, and outlines of true and predicted masks on a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.plots.style import (
    BLACK,
    BLUE,
    LINES,
    PANEL,
    SHADES,
    SKY,
    VERMILLION,
    YELLOW,
    add_legend,
    new_figure,
    style_axes,
)
from bcdseg.evaluation.results_table import UNKNOWN, Cases
from bcdseg.extras import require
from bcdseg.messages import counted, percent, short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.measures.measure import Estimate
    from bcdseg.evaluation.report.figures import GalleryItem
    from bcdseg.types import Mask, Pixels

WIDE, LETTER = 12, 0.09  # letters from which names of classes next to each other overlap; inches that each more takes
DARK = 0.55  # fraction from which a cell's text is white, because black would be unreadable


def confusion_figure(counts: NDArray[np.integer[Any]], classes: Sequence[str], *, title: str = "") -> Figure:
    """Draw the confusion matrix: scans of each true (rows) and predicted class (columns), shaded by their fraction of the row.

    Args:
        counts: Array of classes x classes.
        classes: Names of the classes, in the order of ``counts``.
        title: Title above the figure.
    """
    names = [short_name(name) for name in classes]
    longest = max(map(len, names))
    is_wide = len(classes) > 3 or longest > WIDE
    side, more = 1.8 + 0.85 * len(classes), max(0, longest - WIDE) * LETTER
    figure = new_figure(side + 0.7 + more, side + more / 2)
    axes = figure.subplots()
    rows = counts.sum(axis=1, keepdims=True)
    fractions = counts / np.maximum(rows, 1)
    axes.imshow(fractions, cmap=SHADES, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        fraction = fractions[row, column]
        text = f"{count}\n{percent(fraction)}" if rows[row, 0] else "0"
        axes.text(column, row, text, ha="center", va="center", color="white" if fraction > DARK else "black")
    places = range(len(classes))
    axes.set_xticks(places, names, rotation=30 if is_wide else 0, ha="right" if is_wide else "center", parse_math=False)
    axes.set_yticks(places, [f"{name}\nn = {count}" for name, count in zip(names, rows[:, 0], strict=True)], parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize="medium", parse_math=False)
    return figure


EDGES = np.linspace(0, 1, 21)
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
FEW = 9  # least number of scans in a window of the running median, which is drawn from twice as many on


def dice_figure(cases: Cases) -> Figure:
    """Draw histograms of the Dice of scans with a lesion, one per class in a column; scans with Dice 0 have a bar of their own."""
    groups = _groups(cases)
    figure = new_figure(PANEL, 1.2 + 1.35 * len(groups))
    for axes, (name, rows, at) in zip(figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0], groups, strict=True):
        dice = cases.outline["dice"][rows]
        missed = int((dice == 0).sum())
        axes.hist(dice[dice > 0], bins=EDGES, color=LINES[at % len(LINES)]["color"], edgecolor="white", linewidth=0.6)
        axes.bar(-0.05, missed, width=0.05, color="white", edgecolor="black", hatch="////")
        axes.axvline(float(np.median(dice)), color="white", linewidth=3)  # keeps the median visible on black bars
        axes.axvline(float(np.median(dice)), color="black", linewidth=1.2, linestyle="--")
        title = f"{name}: {counted(len(dice), 'scan')}, median {np.median(dice):.2f}"
        title += f", Dice 0: {missed} (hatched)" if missed else ""
        style_axes(axes, y="scans")
        axes.set_title(title, fontsize="small", loc="left", parse_math=False)
        axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.set_xlabel("Dice")
    axes.set_xlim(-0.09, 1.01)
    return figure


def size_figure(cases: Cases) -> Figure:
    """Draw the Dice of each scan with a lesion against the lesion's fraction of the scan."""
    figure = new_figure(PANEL, 4.4)
    axes = figure.subplots()
    for name, rows, at in _groups(cases):
        area, dice = cases.outline["truth_area"][rows], cases.outline["dice"][rows]
        colour, marker = LINES[at % len(LINES)]["color"], MARKERS[at % len(MARKERS)]
        axes.scatter(100 * area, dice, s=24, marker=marker, color=colour, alpha=0.75, edgecolor="white", linewidth=0.5, label=name)
    lesions = cases.lesion
    order = np.argsort(cases.outline["truth_area"][lesions])
    area, dice = cases.outline["truth_area"][lesions][order], cases.outline["dice"][lesions][order]
    if len(dice) >= 2 * FEW:
        window = max(FEW, len(dice) // 5)
        starts = range(len(dice) - window + 1)
        x = [float(np.median(area[start : start + window])) * 100 for start in starts]
        y = [float(np.median(dice[start : start + window])) for start in starts]
        axes.plot(x, y, color="black", linewidth=1.5, label=f"median of {window} neighbours")
    style_axes(axes, x="lesion's fraction of the scan, % (logarithmic)", y="Dice")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(-0.03, 1.03)
    add_legend(axes, loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=2)
    return figure


def _groups(cases: Cases) -> list[tuple[str, NDArray[np.bool_], int]]:
    """Return name, rows and number of each class that has lesions; scans of unknown class are one group."""
    found = [(name, cases.lesion & (cases.labels == number), number) for number, name in enumerate(cases.classes)]
    found.append(("class unknown" if cases.classes else "all", cases.lesion & (cases.labels == UNKNOWN), len(cases.classes)))
    return [(short_name(name), rows, at) for name, rows, at in found if rows.any()]


MARGIN, WIDTH, ROW = 1.6, 2.1, 0.34  # inches: space for names, width of a panel, height of a row


@dataclass(frozen=True)
class ForestPanel:
    """One measure of a forest plot.

    Attributes:
        title: Name of the measure.
        estimates: Estimate of each row.
        reference: Estimate of all scans together, drawn as a line; or None.
        pooled: Low end, value and high end of a pooled value, drawn as a diamond below the rows; or None.
        fraction: Whether values are from 0 to 1.
    """

    title: str
    estimates: Sequence[Estimate]
    reference: float | None = None
    pooled: tuple[float, float, float] | None = None
    fraction: bool = True


def forest_figure(names: Sequence[str], panels: Sequence[ForestPanel]) -> Figure:
    """Draw a forest plot: a row per name, a panel per measure, a square for each value and a line for its 95 % interval."""
    rows = len(names) + any(panel.pooled is not None for panel in panels)
    figure = new_figure(MARGIN + WIDTH * len(panels), 1.0 + ROW * rows)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw(axes, panel)
        style_axes(axes, title=panel.title)
        axes.title.set_fontsize("small")
        axes.grid(axis="y", visible=False)
        axes.set_ylim(rows - 0.5, -0.5)
        if panel.fraction:
            axes.set_xlim(-0.02, 1.02)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize="small")
        axes.xaxis.get_major_locator().set_params(nbins=4)
        axes.xaxis.set_major_formatter("{x:g}")
    labels = [*map(short_name, names), *(["pooled"] if rows > len(names) else [])]
    all_axes[0].set_yticks(range(rows), labels, parse_math=False)
    return figure


def _draw(axes: Any, panel: ForestPanel) -> None:
    if panel.reference is not None:
        axes.axvline(panel.reference, color="#8c959f", linewidth=1, linestyle="--")
    for row, one in enumerate(panel.estimates):
        if one.value is None:
            axes.text(0.5, row, "no value", transform=axes.get_yaxis_transform(), ha="center", va="center", fontsize="x-small")
            continue
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [row, row], color=BLUE, linewidth=1.6)
        filled = one.low is not None
        axes.plot(one.value, row, marker="s", markersize=5, color=BLUE, markerfacecolor=BLUE if filled else "white")
    if panel.pooled is not None:
        low, value, high = panel.pooled
        row = len(panel.estimates)
        axes.fill([low, value, high, value], [row, row - 0.22, row, row + 0.22], color=VERMILLION, edgecolor=BLACK, linewidth=0.6)


TRUTH = {"color": SKY, "linestyle": "-", "linewidth": 1.4}
PREDICTED = {"color": YELLOW, "linestyle": (0, (3, 1.5)), "linewidth": 1.4}
NAMES = {"truth": TRUTH, "prediction": PREDICTED}


def draw_outlines(axes: Any, image: Pixels, *, truth: Mask | None, predicted: Mask | None, title: str = "") -> None:
    """Draw a scan with the true outline (solid) and the predicted one (dashed); None and an empty mask have no outline."""
    axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    for mask, style in ((truth, TRUTH), (predicted, PREDICTED)):
        if mask is not None:
            _draw_outline(axes, mask, style)
    axes.set_axis_off()
    axes.set_title(title, fontsize="small", parse_math=False)


def name_outlines(figure: Figure) -> None:
    """Add a legend of the outlines below the figure."""
    lines = require("matplotlib.lines", extra="evaluate", purpose="Drawing a figure")
    handles = [lines.Line2D([], [], label=name, path_effects=_dark_edge(), **style) for name, style in NAMES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _draw_outline(axes: Any, mask: Mask, style: dict[str, Any]) -> None:
    from skimage.measure import find_contours

    for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):  # padding closes the outlines of lesions at the edge
        axes.plot(line[:, 1] - 1, line[:, 0] - 1, path_effects=_dark_edge(), scalex=False, scaley=False, **style)


def _dark_edge() -> list[Any]:
    """Return a dark edge, which keeps a light line visible on light tissue and on white paper."""
    effects = require("matplotlib.patheffects", extra="evaluate", purpose="Drawing a figure")
    return [effects.Stroke(linewidth=2.6, foreground="#333333"), effects.Normal()]


SIDE = 2.6  # inches


def picture_figure(picture: GalleryItem) -> Figure:
    """Draw a scan with true (solid, blue) and predicted outline (dashed, yellow), and next to it the heat map if there is one."""
    height, width = picture.image.shape[:2]
    shown = 1 + (picture.heatmap is not None)
    figure = new_figure(SIDE * shown, SIDE * height / width)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01)  # type: ignore[union-attr, call-arg]
    panels = figure.subplots(1, shown, squeeze=False)[0]
    for axes in panels:
        draw_outlines(axes, picture.image, truth=picture.truth, predicted=picture.predicted)
    if picture.heatmap is not None:
        panels[-1].imshow(picture.heatmap, cmap="inferno", alpha=0.55 * picture.heatmap**0.5, vmin=0, vmax=1)
    return figure
