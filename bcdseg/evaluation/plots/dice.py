"""Distribution of Dice by class and lesion size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.plots.style import LINES, PANEL, new_figure, style_axes
from bcdseg.evaluation.results_table import UNKNOWN, Cases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGES = np.linspace(0, 1, 21)
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
FEW = 9  # least number of scans in a window of the running median, which is drawn from twice as many on


def dice_figure(cases: Cases) -> Figure:
    """Draw histograms of the Dice of scans with a lesion, one per class in a column; missed lesions have a bar of their own."""
    groups = _groups(cases)
    figure = new_figure(PANEL, 1.2 + 1.35 * len(groups))
    for axes, (name, rows, at) in zip(figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0], groups, strict=True):
        dice = cases.outline["dice"][rows]
        missed = int((dice == 0).sum())
        axes.hist(dice[dice > 0], bins=EDGES, color=LINES[at % len(LINES)]["color"], edgecolor="white", linewidth=0.6)
        axes.bar(-0.05, missed, width=0.05, color="white", edgecolor="black", hatch="////")
        axes.axvline(float(np.median(dice)), color="white", linewidth=3)  # keeps the median visible on black bars
        axes.axvline(float(np.median(dice)), color="black", linewidth=1.2, linestyle="--")
        title = f"{name}: {len(dice)} scans, median {np.median(dice):.2f}" + (f", Dice 0: {missed} (hatched)" if missed else "")
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
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=2, frameon=False, fontsize="small")
    return figure


def _groups(cases: Cases) -> list[tuple[str, NDArray[np.bool_], int]]:
    """Return name, rows and number of each class that has lesions; scans of unknown class are one group."""
    found = [(name, cases.lesion & (cases.labels == number), number) for number, name in enumerate(cases.classes)]
    found.append(("class unknown" if cases.classes else "all", cases.lesion & (cases.labels == UNKNOWN), len(cases.classes)))
    return [(name, rows, at) for name, rows, at in found if rows.any()]
