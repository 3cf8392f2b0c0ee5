"""Effects of other decision rules on the same scans, with paired intervals over groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.intervals import estimate_of, resamples
from bcdseg.evaluation.measures.measure import Estimate
from bcdseg.evaluation.metrics.calibration import SMALLEST, calibration_error
from bcdseg.evaluation.metrics.weighted import Values, Weights, mean, once
from bcdseg.evaluation.results_table import Cases, Column
from bcdseg.evaluation.site.rules import Rows, SiteTable
from bcdseg.inference.rules import Rules


@dataclass(frozen=True, kw_only=True)
class SiteEffect:
    """One quantity under the model's own rules and under the fitted ones.

    Attributes:
        title: Readable name.
        before: Estimate under the model's own rules.
        after: Estimate under the fitted rules, each scan under those that were fitted without its fold.
        gain: After minus before, with a paired interval.
        higher_is_better: Whether higher values are better; None where neither direction is.
    """

    title: str
    before: Estimate
    after: Estimate
    gain: Estimate
    higher_is_better: bool | None

    @property
    def is_better(self) -> bool:
        """Whether the interval of the gain excludes 0, in the better direction."""
        if self.gain.low is None or self.gain.high is None:
            return False
        return self.gain.low > 0 if self.higher_is_better else self.gain.high < 0

    def __str__(self) -> str:
        if self.before == self.after:
            return f"{self.title}: {_shown(self.before)}, unchanged"
        return f"{self.title}: {_shown(self.before)} before, {_shown(self.after)} after"


def _shown(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"unknown ({estimate.note})"
    interval = "no interval" if estimate.low is None else f"{estimate.low:.3f} to {estimate.high:.3f}"
    return f"{estimate.value:.3f} ({interval})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Decisions of rules for each scan.

    Attributes:
        cases: Results table under the rules.
        predicted: Whether the operating point of each name predicts its class.
        sets: Whether each class is in the label set, scans x classes; None without label sets.
        confident: Whether the confidence is at least the confidence threshold.
    """

    cases: Cases
    predicted: Mapping[str, Rows]
    sets: NDArray[np.bool_] | None
    confident: Rows


def outcome(table: SiteTable, folds: NDArray[np.int64], rules: Sequence[Rules]) -> Outcome:
    """Return what is decided for each scan under the rules of its fold."""
    each = [_outcome(table, one) for one in rules]

    def chosen(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.stack(columns)[folds, np.arange(len(folds))]

    first = each[0]
    cases = replace(
        first.cases,
        probabilities=chosen([one.cases.probabilities for one in each]),
        outlined=chosen([one.cases.outlined for one in each]),
        outline={**first.cases.outline, "dice": chosen([one.cases.outline["dice"] for one in each])},
    )
    names = [name for name in first.predicted if all(name in one.predicted for one in each)]
    sets = [one.sets for one in each if one.sets is not None]
    return Outcome(
        cases=cases,
        predicted={name: chosen([one.predicted[name] for one in each]).astype(bool) for name in names},
        sets=chosen(sets).astype(bool) if len(sets) == len(each) else None,
        confident=chosen([one.confident for one in each]).astype(bool),
    )


def _outcome(table: SiteTable, rules: Rules) -> Outcome:
    cases = table.under(rules)
    predicted = {
        point.name: cases.probabilities[:, cases.classes.index(point.positive)] >= point.threshold
        for point in rules.operating_points
    }
    confidence = cases.probabilities.max(axis=1, initial=0.0)
    sets = None
    if rules.conformal_thresholds:
        sets = cases.probabilities >= np.array(rules.conformal_thresholds)
        sets |= ~sets.any(axis=1, keepdims=True) & (cases.probabilities == confidence[:, None])
    return Outcome(cases=cases, predicted=predicted, sets=sets, confident=confidence >= rules.min_confidence)


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """A quantity of an outcome.

    Attributes:
        title: Readable name.
        higher_is_better: Whether higher values are better; None where neither direction is.
        needs: Scans of each kind that it needs.
        values: Function that returns the value in each draw of weights, or None where the rules don't have it.
        bounds: Lowest and highest possible value.
    """

    title: str
    higher_is_better: bool | None
    needs: Mapping[str, Rows]
    values: Callable[[Outcome, Weights], Values | None]
    bounds: tuple[float, float] = (0.0, 1.0)


def effects(quantities: Mapping[str, Quantity], before: Outcome, after: Outcome, *, draws: int, seed: int) -> dict[str, SiteEffect]:
    """Return the effect of other rules on each quantity, by a paired bootstrap over groups."""
    cases = before.cases
    weights = np.concatenate([np.empty((0, len(cases))), *resamples(cases, draws=draws, seed=seed)])
    return {name: _effect(one, before, after, weights) for name, one in quantities.items()}


def _effect(quantity: Quantity, before: Outcome, after: Outcome, weights: Weights) -> SiteEffect:
    estimated = partial(estimate_of, before.cases, quantity.needs)
    counted = np.concatenate([once(len(before.cases)), weights])
    first, second = (quantity.values(one, counted) for one in (before, after))

    def estimate(values: Values | None) -> Estimate:
        if values is None:
            return Estimate(value=None, note="these rules have none")
        return estimated(quantity.bounds, float(values[0]), values[1:])

    gain = Estimate(value=None, note="one of the rules has none")
    if first is not None and second is not None:
        change = second - first
        gain = estimated((-np.inf, np.inf), float(change[0]), change[1:])
    return SiteEffect(
        title=quantity.title,
        before=estimate(first),
        after=estimate(second),
        gain=gain,
        higher_is_better=quantity.higher_is_better,
    )


def _fraction(
    title: str, higher_is_better: bool | None, kind: str, rows: Rows, column: Callable[[Outcome], NDArray[Any] | None]
) -> Quantity:
    """Return the quantity that is the mean of a column over some scans."""

    def values(one: Outcome, weights: Weights) -> Values | None:
        found = column(one)
        return None if found is None else mean(found[rows].astype(np.float64), weights[:, rows])

    return Quantity(title=title, higher_is_better=higher_is_better, needs={kind: rows}, values=values)


def outline_quantities(cases: Cases) -> Iterator[tuple[str, Quantity]]:
    """Yield the quantities of outlines: Dice, lesions missed, and false lesions."""
    if not cases.has_mask.any():
        return
    lesion, clear = cases.lesion & cases.has_mask, cases.clear & cases.has_mask
    lesions, clears = "scans with a lesion", "scans without a lesion"

    yield "dice", _fraction("Dice of lesions, 0 where missed", True, lesions, lesion, _dice)
    yield "missed", _fraction("Scans with a lesion in which nothing is outlined", False, lesions, lesion, _not_outlined)
    yield "false_lesions", _fraction("Scans without a lesion in which something is outlined", False, clears, clear, _outlined)


def class_quantities(cases: Cases, positive: str | None, points: Sequence[str]) -> Iterator[tuple[str, Quantity]]:
    """Yield the quantities of classes: accuracy, calibration, and what operating points and label sets reach."""
    known = cases.has_class
    if not known.any():
        return
    truth, labelled = cases.labels[known], "scans whose class is known"

    def error(one: Outcome, weights: Weights) -> Values:
        probabilities = one.cases.probabilities[known]
        return calibration_error(probabilities.argmax(axis=1) == truth, probabilities.max(axis=1), weights[:, known])

    def log_loss(one: Outcome) -> Column:
        at = np.where(known, cases.labels, 0)
        return np.asarray(-np.log(np.maximum(one.cases.probabilities[np.arange(len(at)), at], SMALLEST)))

    yield "ece", Quantity(title="Calibration error (ECE)", higher_is_better=False, needs={labelled: known}, values=error)
    yield (
        "log_loss",
        replace(_fraction("Negative log-likelihood of the true class", False, labelled, known, log_loss), bounds=(0.0, np.inf)),
    )
    yield "accuracy", _fraction("Accuracy", True, labelled, known, lambda one: one.cases.predicted == cases.labels)
    yield "sure", _fraction("Predictions that are not flagged as unsure", None, labelled, known, lambda one: one.confident)
    if positive is not None:
        yield from _point_quantities(cases, positive, points)
    covers = [("coverage", "scans whose class is known", known)]
    covers += [(f"coverage/{name}", f"{name} scans", known & (cases.labels == at)) for at, name in enumerate(cases.classes)]
    for name, kind, rows in covers:
        yield name, _fraction(f"Label sets with the true class, {kind}", None, kind, rows, partial(_covered, labels=cases.labels))
    size = _fraction(
        "Classes in a label set", False, labelled, known, lambda one: None if one.sets is None else one.sets.sum(axis=1)
    )
    yield "set_size", replace(size, bounds=(1.0, float(len(cases.classes))))


def _point_quantities(cases: Cases, positive: str, points: Sequence[str]) -> Iterator[tuple[str, Quantity]]:
    """Yield sensitivity and specificity for a class: of the most probable class, and at each operating point."""
    known, number = cases.has_class, cases.classes.index(positive)
    for what, kind, rows, is_class in (
        ("sensitivity", f"{positive} scans", known & (cases.labels == number), True),
        ("specificity", f"scans that are not {positive}", known & (cases.labels != number), False),
    ):
        title = f"{what.capitalize()} for {positive}"

        def most_probable(one: Outcome, is_class: bool = is_class) -> Rows:
            return np.asarray((one.cases.predicted == number) == is_class)

        yield what, _fraction(f"{title}, most probable class", True, kind, rows, most_probable)
        for point in points:

            def at_point(one: Outcome, point: str = point, is_class: bool = is_class) -> Rows | None:
                return one.predicted[point] == is_class if point in one.predicted else None

            yield f"{what}/{point}", _fraction(f"{title} at “{point}”", None, kind, rows, at_point)


def _dice(one: Outcome) -> Column:
    return one.cases.outline["dice"]


def _outlined(one: Outcome) -> Column:
    return one.cases.outlined


def _not_outlined(one: Outcome) -> Column:
    return 1 - one.cases.outlined


def _covered(one: Outcome, *, labels: NDArray[np.int64]) -> Rows | None:
    return None if one.sets is None else one.sets[np.arange(len(labels)), np.maximum(labels, 0)]
