"""Forest plots: values with intervals, one row per subgroup or data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bcdseg.evaluation.plots.style import BLACK, BLUE, VERMILLION, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.measures.measure import Estimate

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
    labels = [*names, *(["pooled"] if rows > len(names) else [])]
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
