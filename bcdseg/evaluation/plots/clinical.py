"""Decision curve, FROC curve and Bland-Altman plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.evaluation.measures.detection import froc_curve
from bcdseg.evaluation.measures.intervals import resamples
from bcdseg.evaluation.measures.sizes import agreement, measured
from bcdseg.evaluation.metrics.clinical import net_benefit, net_benefit_of_all
from bcdseg.evaluation.plots.style import BLACK, BLUE, PANEL, VERMILLION, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.results_table import Cases

THRESHOLDS = np.linspace(0.01, 0.6, 60)
FALSE_PER_SCAN = np.linspace(0, 4, 81)
GRAY = "#8c959f"


def decision_figure(cases: Cases, *, prevalence: float | None = None, draws: int = 1000, seed: int = 0) -> Figure:
    """Draw the decision curve of the positive class: net benefit over threshold probability, with a bootstrap band.

    Args:
        cases: Results table with a positive class.
        prevalence: Prevalence at which the net benefit is stated; by default that of the scans.
        draws: Number of bootstrap draws of the band.
        seed: Seed of the draws.
    """
    assert cases.positive is not None
    known, number = cases.has_class, cases.classes.index(cases.positive)
    truth, probability = cases.labels[known] == number, cases.probabilities[known, number]
    common = float(truth.mean()) if prevalence is None else prevalence
    figure = new_figure(PANEL, 4.2)
    axes = figure.subplots()
    for weights in resamples(cases, draws=draws, seed=seed):
        drawn = [net_benefit(truth, probability, at, weights[:, known], prevalence=prevalence) for at in THRESHOLDS]
        low, high = np.nanquantile(drawn, (0.025, 0.975), axis=1)
        axes.fill_between(THRESHOLDS, low, high, color=BLUE, alpha=0.15, linewidth=0)
        break  # one block of draws is enough for a band
    values = [float(net_benefit(truth, probability, at, prevalence=prevalence)[0]) for at in THRESHOLDS]
    everyone = [net_benefit_of_all(common, at) for at in THRESHOLDS]
    axes.plot(THRESHOLDS, values, color=BLUE, label="model")
    axes.plot(THRESHOLDS, everyone, color=VERMILLION, linestyle="--", label="biopsy of all")
    axes.axhline(0, color=BLACK, linewidth=1, linestyle=":", label="biopsy of none")
    style_axes(axes, x=f"threshold probability of {cases.positive}", y="net benefit")
    axes.set(xlim=(0, THRESHOLDS[-1]), ylim=(-0.05, max(0.06, common * 1.1)))
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=3, frameon=False, fontsize="small")
    return figure


def froc_figure(cases: Cases, *, draws: int = 200, seed: int = 0) -> Figure:
    """Draw the FROC curve: lesion sensitivity over false lesions per scan, with a bootstrap band.

    Args:
        cases: Results table whose predicted regions have scores.
        draws: Number of bootstrap draws of the band.
        seed: Seed of the draws.
    """
    figure = new_figure(PANEL, 4.2)
    axes = figure.subplots()
    curves = [
        np.interp(FALSE_PER_SCAN, *froc_curve(cases, draw)) for block in resamples(cases, draws=draws, seed=seed) for draw in block
    ]
    false_per_scan, sensitivity = froc_curve(cases)
    end = max(0.5, float(false_per_scan[-1]) * 1.15)
    if curves:
        low, high = np.nanquantile(curves, (0.025, 0.975), axis=0)
        shown = end >= FALSE_PER_SCAN
        axes.fill_between(FALSE_PER_SCAN[shown], low[shown], high[shown], color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(false_per_scan, sensitivity, color=BLUE, drawstyle="steps-post")
    axes.plot(false_per_scan[-1], sensitivity[-1], color=BLUE, marker="o", label="all predicted regions")
    style_axes(axes, x="false lesions per scan", y="lesion sensitivity")
    axes.set(xlim=(-0.01, end), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    return figure


def bland_altman_figure(cases: Cases, name: str, unit: str) -> Figure:
    """Draw a Bland-Altman plot: the difference of predicted and true size over their mean, with bias and limits of agreement.

    Args:
        cases: Results table.
        name: Name of the size, such as ``long_axis_mm``.
        unit: Unit for the axes.
    """
    rows = measured(cases, name)
    truth, predicted = cases.outline[f"true_{name}"][rows], cases.outline[f"predicted_{name}"][rows]
    figure = new_figure(PANEL, 4.2)
    axes = figure.subplots()
    axes.scatter((truth + predicted) / 2, predicted - truth, s=18, color=BLUE, alpha=0.6, edgecolor="white", linewidth=0.4)
    found = agreement(cases, name)
    for value, style in ((found.bias[0], "-"), (found.low[0], "--"), (found.high[0], "--")):
        if np.isfinite(value):
            axes.axhline(value, color=VERMILLION, linestyle=style, linewidth=1.2)
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "fontsize": "small", "va": "bottom", "ha": "right"}
            axes.annotate(f"{value:+.1f}", (1.0, value), **place)
    axes.axhline(0, color=GRAY, linewidth=0.8)
    style_axes(axes, x=f"mean of predicted and true size ({unit})", y=f"predicted minus true ({unit})")
    return figure
