"""How the figures fall with a degradation's strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.evaluation.degrade import DEGRADATIONS
from bcdseg.evaluation.measures.measure import Estimate, Measure
from bcdseg.evaluation.plots.style import LINES, PANEL, new_figure, style_axes
from bcdseg.evaluation.robustness import Robustness

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def robustness_figure(found: Robustness, degradation: str) -> Figure:
    """The measures of outlines, and below them those of classes, on scans as they are and at each strength, with intervals."""
    steps = found.of(degradation)
    names = [f"{step.strength:g}" for step in steps]
    neutral = sum(step.strength < 1 for step in steps) if degradation == "gain" else 0  # between darker and brighter
    names.insert(neutral, "as it is")
    panels = [
        [one for one in found.measures if (one.section in ("segmentation", "detection")) == outlines] for outlines in (True, False)
    ]
    panels = [measures for measures in panels if measures]
    figure = new_figure(PANEL, 0.6 + 3.1 * len(panels))
    for axes, measures in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        for style, measure in zip(LINES, measures, strict=False):
            estimates = [step.estimates[measure.name] for step in steps]
            estimates.insert(neutral, found.untouched[measure.name])
            _draw(axes, measure, estimates, style)
        style_axes(axes)
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="center left", bbox_to_anchor=(0, -0.32), ncols=2, frameon=False, fontsize="x-small", columnspacing=1)
    figure.supxlabel(f"{degradation}: {DEGRADATIONS[degradation].strength}", fontsize="medium")
    return figure


def _draw(axes: Any, measure: Measure, estimates: Sequence[Estimate], style: dict[str, Any]) -> None:
    ends = np.array([(one.value, one.low, one.high) for one in estimates], np.float64).T  # None becomes NaN, which isn't drawn
    places = range(len(estimates))
    axes.plot(places, ends[0], marker="o", markersize=4, label=measure.title, **style)
    axes.fill_between(places, ends[1], ends[2], color=style["color"], alpha=0.1, linewidth=0)
