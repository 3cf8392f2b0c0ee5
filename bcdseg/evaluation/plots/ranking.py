"""ROC, precision-recall and robustness curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.corruptions import CORRUPTIONS
from bcdseg.evaluation.measures.intervals import resamples
from bcdseg.evaluation.metrics.ranking import Steps, average_precision, roc_auc, steps
from bcdseg.evaluation.plots.style import LINES, PANEL, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.measures.measure import Estimate, Measure
    from bcdseg.evaluation.results_table import Cases
    from bcdseg.evaluation.robustness import Robustness

Curve = NDArray[np.float64]
GRID = np.linspace(0, 1, 101)


def roc_figure(cases: Cases, *, draws: int = 1000, seed: int = 0) -> Figure:
    """Draw the ROC curve of each class against the rest, with a bootstrap band for the class that matters most.

    A dot marks the point at which the most probable class is predicted.
    """
    figure = new_figure(PANEL, 4.6)
    axes = figure.subplots()
    for number, style in _drawn(cases):
        scores, truth = _against_rest(cases, number)
        at = steps(truth, scores)
        label = f"{cases.classes[number]}: area {roc_auc(truth, scores)[0]:.2f}"
        axes.plot(1 - at.specificity[0], at.sensitivity[0], label=label, **style)
        if number == _banded(cases):
            _band(axes, [_roc_on_grid(one) for one in _drawn_steps(cases, number, draws, seed)], style)
        predicted = cases.predicted[cases.has_class] == number
        axes.plot(predicted[~truth].mean(), predicted[truth].mean(), marker="o", markersize=6, color=style["color"])
    axes.plot([0, 1], [0, 1], color="#8c959f", linewidth=1, label="chance: area 0.50")
    _finish(axes, x="1 - specificity", y="sensitivity")
    return figure


def precision_recall_figure(cases: Cases, *, draws: int = 1000, seed: int = 0) -> Figure:
    """Draw the precision-recall curve of each class, with a bootstrap band for the class that matters most."""
    figure = new_figure(PANEL, 4.6)
    axes = figure.subplots()
    for number, style in _drawn(cases):
        scores, truth = _against_rest(cases, number)
        at = steps(truth, scores)
        label = f"{cases.classes[number]}: mean precision {average_precision(truth, scores)[0]:.2f}, chance {truth.mean():.2f}"
        axes.step(at.sensitivity[0], at.precision[0], where="pre", label=label, **style)
        if number == _banded(cases):
            _band(axes, [_precision_on_grid(one) for one in _drawn_steps(cases, number, draws, seed)], style)
    _finish(axes, x="sensitivity (recall)", y="precision")
    return figure


def _drawn(cases: Cases) -> list[tuple[int, dict[str, Any]]]:
    """Return the classes that have a curve (some scans are of the class and some are not), the one that matters most first."""
    seen = [number for number in range(len(cases.classes)) if 0 < _against_rest(cases, number)[1].mean() < 1]
    first = _banded(cases)
    seen.sort(key=lambda number: number != first)
    return [(number, LINES[number % len(LINES)]) for number in seen]


def _banded(cases: Cases) -> int:
    return cases.classes.index(cases.positive) if cases.positive is not None else len(cases.classes) - 1


def _against_rest(cases: Cases, number: int) -> tuple[Curve, NDArray[np.bool_]]:
    known = cases.has_class
    return cases.probabilities[known, number], cases.labels[known] == number


def _drawn_steps(cases: Cases, number: int, draws: int, seed: int) -> list[Steps]:
    """Return the counts at all thresholds for each draw in which the class and other classes occur."""
    scores, truth = _against_rest(cases, number)
    found = []
    for weights in resamples(cases, draws=draws, seed=seed):
        at = steps(truth, scores, weights[:, cases.has_class])
        fine = (at.right[:, -1] > 0) & (at.wrong[:, -1] > 0)
        found += [Steps(at.thresholds, at.right[[row]], at.wrong[[row]]) for row in np.flatnonzero(fine)]
    return found


def _roc_on_grid(at: Steps) -> Curve:
    return np.asarray(np.interp(GRID, 1 - at.specificity[0], at.sensitivity[0]), np.float64)


def _precision_on_grid(at: Steps) -> Curve:
    place = np.searchsorted(at.sensitivity[0], GRID - 1e-12)
    return np.asarray(at.precision[0][np.minimum(place, at.precision.shape[1] - 1)], np.float64)


def _band(axes: Any, curves: list[Curve], style: dict[str, Any]) -> None:
    if not curves:
        return
    low, high = np.quantile(curves, (0.025, 0.975), axis=0)
    axes.fill_between(GRID, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _finish(axes: Any, *, x: str, y: str) -> None:
    style_axes(axes, x=x, y=y)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), frameon=False, fontsize="small")


def robustness_figure(found: Robustness, degradation: str) -> Figure:
    """Draw the segmentation and, below, the classification measures on original scans and at each strength, with intervals."""
    steps = found.of(degradation)
    names = [f"{step.strength:g}" for step in steps]
    # A gain of 1 is between darker and brighter scans.
    neutral = sum(step.strength < 1 for step in steps) if degradation == "gain" else 0
    names.insert(neutral, "original")
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
    figure.supxlabel(f"{degradation}: {CORRUPTIONS[degradation].strength}", fontsize="medium")
    return figure


def _draw(axes: Any, measure: Measure, estimates: Sequence[Estimate], style: dict[str, Any]) -> None:
    # None becomes NaN, which matplotlib doesn't draw.
    ends = np.array([(one.value, one.low, one.high) for one in estimates], np.float64).T
    places = range(len(estimates))
    axes.plot(places, ends[0], marker="o", markersize=4, label=measure.title, **style)
    axes.fill_between(places, ends[1], ends[2], color=style["color"], alpha=0.1, linewidth=0)
