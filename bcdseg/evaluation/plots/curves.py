"""Curves: ROC, precision-recall, robustness, reliability, risk-coverage, decision, FROC; and the Bland-Altman plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.corruptions import CORRUPTIONS
from bcdseg.evaluation.measures.detection import froc_curve
from bcdseg.evaluation.measures.intervals import resamples
from bcdseg.evaluation.measures.outlines import agreement, measured
from bcdseg.evaluation.metrics.calibration import Bin, risk_coverage
from bcdseg.evaluation.metrics.classification import Steps, average_precision, roc_auc, steps
from bcdseg.evaluation.metrics.clinical import net_benefit, net_benefit_of_all
from bcdseg.evaluation.plots.style import BLACK, BLUE, LINES, PANEL, SKY, VERMILLION, add_legend, new_figure, style_axes
from bcdseg.messages import percent, short_name

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

    def draw(axes: Any, curve: ClassCurve) -> None:
        area = roc_auc(curve.truth, curve.scores)[0]
        axes.plot(1 - curve.steps.specificity[0], curve.steps.sensitivity[0], label=f"{curve.name}: area {area:.2f}", **curve.style)
        predicted = cases.predicted[cases.has_class] == curve.number
        x, y = predicted[~curve.truth].mean(), predicted[curve.truth].mean()
        axes.plot(x, y, marker="o", markersize=6, color=curve.style["color"])

    figure, axes = _class_curves(cases, draw, _roc_on_grid, draws, seed)
    axes.plot([0, 1], [0, 1], color="#8c959f", linewidth=1, label="chance: area 0.50")
    _finish(axes, x="1 - specificity", y="sensitivity")
    return figure


def precision_recall_figure(cases: Cases, *, draws: int = 1000, seed: int = 0) -> Figure:
    """Draw the precision-recall curve of each class, with a bootstrap band for the class that matters most."""

    def draw(axes: Any, curve: ClassCurve) -> None:
        precision, chance = average_precision(curve.truth, curve.scores)[0], curve.truth.mean()
        label = f"{curve.name}: mean precision {precision:.2f}, chance {chance:.2f}"
        axes.step(curve.steps.sensitivity[0], curve.steps.precision[0], where="pre", label=label, **curve.style)

    figure, axes = _class_curves(cases, draw, _precision_on_grid, draws, seed)
    _finish(axes, x="sensitivity (recall)", y="precision")
    return figure


class ClassCurve(NamedTuple):
    """Scores of a class against the rest, and the counts at all their thresholds."""

    number: int
    name: str
    scores: Curve
    truth: NDArray[np.bool_]
    steps: Steps
    style: dict[str, Any]


def _class_curves(
    cases: Cases, draw: Callable[[Any, ClassCurve], None], on_grid: Callable[[Steps], Curve], draws: int, seed: int
) -> tuple[Figure, Any]:
    """Draw the curve of each class into a new figure, with a band for the class that matters most; return figure and axes."""
    figure = new_figure(PANEL, 4.6)
    axes = figure.subplots()
    for number, style in _drawn(cases):
        scores, truth = _against_rest(cases, number)
        draw(axes, ClassCurve(number, short_name(cases.classes[number]), scores, truth, steps(truth, scores), style))
        if number == _banded(cases):
            _band(axes, [on_grid(one) for one in _drawn_steps(cases, number, draws, seed)], style)
    return figure, axes


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
    add_legend(axes, loc="upper center", bbox_to_anchor=(0.45, -0.14))


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
        add_legend(axes, loc="center left", bbox_to_anchor=(0, -0.32), ncols=2, fontsize="x-small", columnspacing=1)
    figure.supxlabel(f"{degradation}: {CORRUPTIONS[degradation].strength}", fontsize="medium")
    return figure


def _draw(axes: Any, measure: Measure, estimates: Sequence[Estimate], style: dict[str, Any]) -> None:
    # None becomes NaN, which matplotlib doesn't draw.
    ends = np.array([(one.value, one.low, one.high) for one in estimates], np.float64).T
    places = range(len(estimates))
    axes.plot(places, ends[0], marker="o", markersize=4, label=measure.title, **style)
    axes.fill_between(places, ends[1], ends[2], color=style["color"], alpha=0.1, linewidth=0)


COVERAGES = np.linspace(0.05, 1, 96)


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
    add_legend(above, loc="upper left")
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
        axes.fill_between(COVERAGES, low, high, color=BLUE, alpha=0.15, linewidth=0)
    coverage, risk = risk_coverage(right, confidence)
    axes.plot(coverage[0], risk[0], color=BLUE, label="most confident predictions")
    axes.axhline(1 - right.mean(), color="#8c959f", linewidth=1, linestyle="--", label="all predictions")
    if least is not None:
        fraction = float((confidence >= least).mean())
        label = f"predictions not flagged as unsure: {percent(fraction)}"
        axes.axvline(fraction, color=VERMILLION, linewidth=1, linestyle=":", label=label)
    style_axes(axes, x="coverage: fraction of the scans", y="risk: error rate")
    axes.set(xlim=(0, 1.01), ylim=(0, None))
    add_legend(axes, loc="upper center", bbox_to_anchor=(0.45, -0.16))
    return figure


def _on_grid(coverage: NDArray[np.float64], risk: NDArray[np.float64]) -> NDArray[np.float64]:
    filled = np.nan_to_num(risk)
    place = np.searchsorted(coverage, COVERAGES - 1e-12)
    return filled[np.minimum(place, len(filled) - 1)]


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
    add_legend(axes, loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=3)
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
    add_legend(axes, loc="lower right")
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
