"""Reliability diagram and risk-coverage curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.intervals import resamples
from bcdseg.evaluation.metrics.calibration import Bin, risk_coverage
from bcdseg.evaluation.plots.style import BLUE, PANEL, SKY, VERMILLION, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.results_table import Cases

GRID = np.linspace(0.05, 1, 96)


def reliability_figure(bins: Sequence[Bin]) -> Figure:
    """Draw the reliability diagram: confidence against accuracy in bins, above the number of scans in each bin."""
    figure = new_figure(PANEL, 4.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    known = [one for one in bins if one.fraction is not None]
    above.plot([0, 1], [0, 1], color="#8c959f", linewidth=1, label="perfect calibration")
    for one in known:
        above.plot([one.probability] * 2, [one.probability, one.fraction], color=VERMILLION, linewidth=1.2, linestyle=":")
    x, y = [one.probability for one in known], [one.fraction for one in known]
    above.plot(x, y, color=BLUE, marker="o", label="accuracy in the bin")
    style_axes(above, y="accuracy")
    above.set(xlim=(0, 1.01), ylim=(0, 1.03))
    above.legend(loc="upper left", frameon=False, fontsize="small")
    below.bar([(one.low + one.high) / 2 for one in bins], [one.n for one in bins], width=0.085, color=SKY, edgecolor="black")
    style_axes(below, x="confidence: probability of the predicted class", y="scans")
    below.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    return figure


def risk_figure(cases: Cases, *, least: float | None = None, draws: int = 1000, seed: int = 0) -> Figure:
    """Draw the risk-coverage curve: the error rate of the most confident predictions, with a bootstrap band.

    Args:
        cases: Results table.
        least: Confidence below which the model's predictions are flagged; marked where given.
        draws: Number of bootstrap draws of the band.
        seed: Seed of the draws.
    """
    figure = new_figure(PANEL, 4.2)
    axes = figure.subplots()
    known = cases.has_class
    confidence = cases.probabilities[known].max(axis=1, initial=0.0)
    right = cases.predicted[known] == cases.labels[known]
    bands = []
    for weights in resamples(cases, draws=draws, seed=seed):
        coverage, risk = risk_coverage(right, confidence, weights[:, known])
        bands += [_on_grid(*both) for both in zip(coverage, risk, strict=True) if both[0].size and np.isfinite(both[0][-1])]
    if bands:
        low, high = np.quantile(bands, (0.025, 0.975), axis=0)
        axes.fill_between(GRID, low, high, color=BLUE, alpha=0.15, linewidth=0)
    coverage, risk = risk_coverage(right, confidence)
    axes.plot(coverage[0], risk[0], color=BLUE, label="most confident predictions")
    axes.axhline(1 - right.mean(), color="#8c959f", linewidth=1, linestyle="--", label="all predictions")
    if least is not None:
        fraction = float((confidence >= least).mean())
        label = f"predictions not flagged as unsure: {fraction:.0%}"
        axes.axvline(fraction, color=VERMILLION, linewidth=1, linestyle=":", label=label)
    style_axes(axes, x="coverage: fraction of the scans", y="risk: error rate")
    axes.set(xlim=(0, 1.01), ylim=(0, None))
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), frameon=False, fontsize="small")
    return figure


def _on_grid(coverage: NDArray[np.float64], risk: NDArray[np.float64]) -> NDArray[np.float64]:
    filled = np.nan_to_num(risk)
    place = np.searchsorted(coverage, GRID - 1e-12)
    return filled[np.minimum(place, len(filled) - 1)]
