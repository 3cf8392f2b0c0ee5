"""Measures of predicted classes and their ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import KNOWN_CLASS, Measure, Rows
from bcdseg.evaluation.metrics import classification
from bcdseg.evaluation.metrics.weighted import Values, Weights
from bcdseg.evaluation.results_table import Cases
from bcdseg.messages import percent

FIXED = (0.90, 0.95)  # specificities for sensitivity_at and sensitivities for specificity_at
CORRELATION = (-1.0, 1.0)
"""Lowest and highest possible Matthews correlation and kappa."""

Counted = Callable[[classification.Confusion], Values]
Ranked = Callable[..., Values]


def _mean_of(of_class: Counted) -> Counted:
    """Return the mean over the classes of a measure per class."""
    return lambda table: classification.over_classes(of_class(table), table)


WHOLE: tuple[tuple[str, str, str, str, Counted], ...] = (
    ("accuracy", "Accuracy", "fraction", "The fraction of the scans whose class is predicted correctly.", classification.accuracy),
    (
        "balanced_accuracy",
        "Balanced accuracy",
        "fraction",
        "The mean sensitivity of the classes (macro recall).",
        classification.balanced,
    ),
    (
        "macro_precision",
        "Precision, macro",
        "fraction",
        "The mean precision of the classes; a class that is never predicted counts 0.",
        _mean_of(classification.precision),
    ),
    (
        "macro_specificity",
        "Specificity, macro",
        "fraction",
        "The mean specificity of the classes.",
        _mean_of(classification.specificity),
    ),
    ("macro_f1", "F1, macro", "fraction", "The mean F1 of the classes.", _mean_of(classification.f1)),
    (
        "mcc",
        "Matthews correlation",
        "score",
        "The correlation of predicted and true class: 1 is perfect, 0 is chance.",
        classification.mcc,
    ),
    (
        "kappa",
        "Cohen's kappa",
        "score",
        "The agreement of predicted and true class beyond chance: 1 is perfect, 0 is chance.",
        classification.kappa,
    ),
)
OF_CLASS: tuple[tuple[str, str, str, Counted], ...] = (
    ("class_precision", "Precision", "The fraction of the scans predicted {0} that are {0}.", classification.precision),
    ("class_recall", "Sensitivity (recall)", "The fraction of the {0} scans predicted {0}.", classification.recall),
    ("class_specificity", "Specificity", "The fraction of the other scans not predicted {0}.", classification.specificity),
    ("class_f1", "F1", "The harmonic mean of precision and recall of {0}.", classification.f1),
)


def class_measures(cases: Cases) -> Iterator[Measure]:
    """Yield all classification and ranking measures."""
    for name, title, unit, definition, counted in WHOLE:
        needs = each_class if name in ("balanced_accuracy", "mcc", "kappa") or name.startswith("macro") else KNOWN_CLASS
        limits = CORRELATION if unit == "score" else None
        yield class_measure(name, title, definition, needs, partial(_counted, measure=counted), unit=unit, limits=limits)
    for number, one in enumerate(cases.classes):
        for name, title, definition, counted in OF_CLASS:
            kinds = {"class_precision": _predicted, "class_recall": _only, "class_specificity": _rest}
            needs = partial(kinds.get(name, one_and_rest), number=number)
            values = partial(_counted, measure=partial(_column_of, of=counted, number=number))
            yield class_measure(f"{name}/{one}", f"{title}, {one}", definition.format(one), needs, values)
    yield from _ranking_measures(cases)


def agreement_measures(cases: Cases, order: Sequence[str]) -> Iterator[Measure]:
    """Yield the weighted kappas of ordered classes, such as BI-RADS categories, from the lowest to the highest."""
    numbers = [cases.classes.index(name) for name in order]
    for penalty, power in (("linear", "distance"), ("quadratic", "squared distance")):
        yield class_measure(
            f"kappa_{penalty}",
            f"Weighted kappa, {penalty}",
            f"The agreement beyond chance, where a wrong class counts by its {power} from the true one in the order "
            f"{', '.join(order)}: 1 is perfect, 0 is chance.",
            each_class,
            partial(_counted, measure=partial(_ordered_kappa, numbers=numbers, penalty=penalty)),
            unit="score",
            limits=CORRELATION,
        )


def _ranking_measures(cases: Cases) -> Iterator[Measure]:
    for number, one in enumerate(cases.classes):
        needs = partial(one_and_rest, number=number)
        yield class_measure(
            f"roc_auc/{one}",
            f"ROC-AUC, {one} against rest",
            f"The probability that a {one} scan gets a higher probability of {one} than another scan.",
            needs,
            partial(against_rest, number=number, measure=classification.roc_auc),
        )
        yield class_measure(
            f"pr_auc/{one}",
            f"PR-AUC, {one}",
            f"The mean precision over all thresholds on the probability of {one}; chance is the fraction of {one} scans.",
            needs,
            partial(against_rest, number=number, measure=classification.average_precision),
        )
    for name, title, definition, measure in (
        ("roc_auc_macro", "ROC-AUC, macro", "The mean ROC-AUC of each class against the rest.", classification.roc_auc),
        ("pr_auc_macro", "PR-AUC, macro", "The mean PR-AUC of the classes.", classification.average_precision),
    ):
        yield class_measure(name, title, definition, each_class, partial(_macro, measure=measure))
    if cases.positive is None:
        return
    positive, at = cases.positive, cases.classes.index(cases.positive)
    for number, other in enumerate(cases.classes):
        if other not in (positive, cases.no_lesion):
            yield class_measure(
                f"roc_auc/{positive}-{other}",
                f"ROC-AUC, {positive} against {other}",
                f"ROC-AUC between {positive} and {other} scans only, by the probability of {positive} among these two classes.",
                partial(_two_classes, one=at, other=number),
                partial(_between, one=at, other=number),
            )
    needs = partial(one_and_rest, number=at)
    for level in FIXED:
        yield class_measure(
            f"sensitivity_at_{level:.2f}",
            f"Sensitivity at specificity {percent(level)}, {positive}",
            f"The sensitivity for {positive} at the best threshold on these scans with a specificity of at least {percent(level)}.",
            needs,
            partial(against_rest, number=at, measure=partial(_at_fixed, of=classification.sensitivity_at, level=level)),
        )
        yield class_measure(
            f"specificity_at_{level:.2f}",
            f"Specificity at sensitivity {percent(level)}, {positive}",
            f"The specificity for {positive} at the best threshold on these scans with a sensitivity of at least {percent(level)}.",
            needs,
            partial(against_rest, number=at, measure=partial(_at_fixed, of=classification.specificity_at, level=level)),
        )


def class_measure(
    name: str,
    title: str,
    definition: str,
    needs: Callable[[Cases], dict[str, Rows]],
    values: Callable[[Cases, Weights], Values],
    *,
    unit: str = "fraction",
    higher_is_better: bool | None = True,
    section: str = "classification",
    limits: tuple[float, float] | None = None,
) -> Measure:
    """Return a measure of predicted classes."""
    return Measure(
        name=name,
        title=title,
        definition=definition,
        section=section,
        unit=unit,
        higher_is_better=higher_is_better,
        needs=needs,
        values=values,
        limits=limits,
    )


def one_and_rest(cases: Cases, *, number: int) -> dict[str, Rows]:
    """Return the scans of one class, and the others of known class."""
    return {**_only(cases, number=number), **_rest(cases, number=number)}


def against_rest(cases: Cases, weights: Weights, *, number: int, measure: Ranked) -> Values:
    """Return a metric ``(y_true, y_prob, weights)`` of one class against the rest."""
    rows = cases.has_class
    return measure(cases.labels[rows] == number, cases.probabilities[rows, number], weights[:, rows])


def each_class(cases: Cases) -> dict[str, Rows]:
    """Return the scans of each class that occurs; at least two classes."""
    parts = {f"{name} scans": cases.has_class & (cases.labels == at) for at, name in enumerate(cases.classes)}
    occurring = {name: rows for name, rows in parts.items() if rows.any()}
    return occurring if len(occurring) > 1 else {"scans of a second class": np.zeros(len(cases), bool), **occurring}


def _only(cases: Cases, *, number: int) -> dict[str, Rows]:
    return {f"{cases.classes[number]} scans": cases.has_class & (cases.labels == number)}


def _rest(cases: Cases, *, number: int) -> dict[str, Rows]:
    return {f"scans that are not {cases.classes[number]}": cases.has_class & (cases.labels != number)}


def _predicted(cases: Cases, *, number: int) -> dict[str, Rows]:
    return {f"scans predicted {cases.classes[number]}": cases.has_class & (cases.predicted == number)}


def _two_classes(cases: Cases, *, one: int, other: int) -> dict[str, Rows]:
    return {**_only(cases, number=one), **_only(cases, number=other)}


def _counted(cases: Cases, weights: Weights, *, measure: Counted) -> Values:
    return measure(classification.confusion(cases.labels, cases.predicted, len(cases.classes), weights))


def _column_of(table: classification.Confusion, *, of: Counted, number: int) -> Values:
    return of(table)[:, number]


def _ordered_kappa(table: classification.Confusion, *, numbers: Sequence[int], penalty: str) -> Values:
    return classification.kappa(table[:, numbers][:, :, numbers], penalty=penalty)


def _at_fixed(y_true: Rows, y_score: NDArray[np.float64], weights: Weights, *, of: Ranked, level: float) -> Values:
    return of(y_true, y_score, level, weights)


def _between(cases: Cases, weights: Weights, *, one: int, other: int) -> Values:
    rows = cases.has_class & np.isin(cases.labels, (one, other))
    pair = cases.probabilities[rows][:, (one, other)]
    among = np.divide(pair[:, 0], pair.sum(axis=1), out=np.full(len(pair), 0.5), where=pair.sum(axis=1) > 0)
    return classification.roc_auc(cases.labels[rows] == one, among, weights[:, rows])


def _macro(cases: Cases, weights: Weights, *, measure: Ranked) -> Values:
    occurring = np.unique(cases.labels[cases.has_class])
    if not len(occurring):
        return np.full(len(weights), np.nan)
    found: Values = np.mean([against_rest(cases, weights, number=int(number), measure=measure) for number in occurring], axis=0)
    return found
