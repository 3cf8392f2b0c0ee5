"""Measures of predicted classes and their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import Measure, Rows, Values, Weights, mean
from bcdseg.evaluation.metrics import calibration, classification, ranking
from bcdseg.evaluation.results_table import Cases

FIXED = (0.90, 0.95)  # specificities for sensitivity_at and sensitivities for specificity_at
Counted = Callable[[classification.Confusion], Values]
Ranked = Callable[..., Values]


def _mean_of(of_class: Counted) -> Counted:
    """Return the mean over the classes of a measure per class."""
    return lambda table: classification.over_classes(of_class(table), table)


WHOLE: tuple[tuple[str, str, str, str, Counted], ...] = (
    ("accuracy", "Accuracy", "share", "Of all scans, the share called right.", classification.accuracy),
    (
        "balanced_accuracy",
        "Balanced accuracy",
        "share",
        "The mean, over the classes, of the share of their scans called right (macro recall).",
        classification.balanced,
    ),
    (
        "macro_precision",
        "Precision, macro",
        "share",
        "The mean precision of the classes; a class never called counts 0.",
        _mean_of(classification.precision),
    ),
    (
        "macro_specificity",
        "Specificity, macro",
        "share",
        "The mean specificity of the classes.",
        _mean_of(classification.specificity),
    ),
    ("macro_f1", "F1, macro", "share", "The mean F1 of the classes.", _mean_of(classification.f1)),
    (
        "mcc",
        "Matthews correlation",
        "score",
        "Correlation of called and true class: 1 always right, 0 no better than chance.",
        classification.mcc,
    ),
)
OF_CLASS: tuple[tuple[str, str, str, Counted], ...] = (
    ("class_precision", "Precision", "Of the scans called {0}, the share that is.", classification.precision),
    ("class_recall", "Sensitivity (recall)", "Of the {0} scans, the share called so.", classification.recall),
    ("class_specificity", "Specificity", "Of the scans that are not {0}, the share not called so.", classification.specificity),
    ("class_f1", "F1", "The harmonic mean of precision and recall of {0}.", classification.f1),
)


def class_measures(cases: Cases) -> Iterator[Measure]:
    """Yield all classification and ranking measures."""
    for name, title, unit, says, counted in WHOLE:
        needs = _each_class if name in ("balanced_accuracy", "mcc") or name.startswith("macro") else _known_classes
        yield _measure(name, title, says, needs, partial(_counted, measure=counted), unit)
    for number, one in enumerate(cases.classes):
        for name, title, says, counted in OF_CLASS:
            needs = {"class_precision": partial(_called, number=number), "class_recall": partial(_only, number=number)}.get(
                name, partial(_one_and_rest, number=number)
            )
            values = partial(_counted, measure=partial(_column_of, of=counted, number=number))
            yield _measure(f"{name}/{one}", f"{title}, {one}", says.format(one), needs, values)
    yield from _ranking_measures(cases)


def calibration_measures(cases: Cases) -> Iterator[Measure]:
    """Yield the calibration measures of the predicted probabilities."""
    bins = calibration.BINS
    rows: list[tuple[str, str, str, str, bool | None, Callable[[Cases, Weights], Values]]] = [
        (
            "ece",
            "Calibration error (ECE)",
            f"How far confidence and share of right answers come apart, on average in {bins} equal bins.",
            "share",
            False,
            _ece,
        ),
        (
            "brier",
            "Brier score",
            "The squared distance of all class probabilities from the truth, summed: 0 best, 2 worst.",
            "score",
            False,
            partial(_of_truth, measure=calibration.brier),
        ),
        (
            "nll",
            "Negative log likelihood",
            "The mean of minus the logarithm of the true class's probability.",
            "score",
            False,
            partial(_of_truth, measure=calibration.negative_log_likelihood),
        ),
        (
            "overconfidence",
            "Overconfidence",
            "Mean confidence minus accuracy: above 0 the model is too sure of itself.",
            "score",
            None,
            _overconfidence,
        ),
        (
            "aurc",
            "Risk over coverage (AURC)",
            "The error rate among the scans the model is surest of, averaged over how many are taken.",
            "share",
            False,
            _aurc,
        ),
    ]
    for name, title, says, unit, higher, values in rows:
        yield _measure(name, title, says, _known_classes, values, unit, higher, "calibration")
    for number, one in enumerate(cases.classes):
        says = f"How far the probability of {one} and the share of scans that are {one} come apart, in {bins} bins."
        values = partial(_class_ece, number=number)
        yield _measure(f"ece/{one}", f"Calibration error, {one}", says, _known_classes, values, "share", False, "calibration")


def _ranking_measures(cases: Cases) -> Iterator[Measure]:
    for number, one in enumerate(cases.classes):
        needs = partial(_one_and_rest, number=number)
        says = f"The probability that a scan that is {one} gets a higher probability of it than another scan."
        yield _measure(
            f"roc_auc/{one}",
            f"ROC-AUC, {one} against rest",
            says,
            needs,
            partial(_against_rest, number=number, measure=ranking.roc_auc),
        )
        says = f"The mean precision over all thresholds on the probability of {one}; chance is the share of {one} scans."
        yield _measure(
            f"pr_auc/{one}", f"PR-AUC, {one}", says, needs, partial(_against_rest, number=number, measure=ranking.average_precision)
        )
    for name, title, says, measure in (
        ("roc_auc_macro", "ROC-AUC, macro", "The mean ROC-AUC of each class against the rest.", ranking.roc_auc),
        ("pr_auc_macro", "PR-AUC, macro", "The mean PR-AUC of the classes.", ranking.average_precision),
    ):
        yield _measure(name, title, says, _each_class, partial(_macro, measure=measure))
    if cases.positive is None:
        return
    positive, at = cases.positive, cases.classes.index(cases.positive)
    for number, other in enumerate(cases.classes):
        if other not in (positive, cases.no_lesion):
            only = f"between {positive} and {other} scans only, by how probable {positive} is among the two."
            says = f"The same as against the rest, {only}"
            needs = partial(_two_classes, one=at, other=number)
            yield _measure(
                f"roc_auc/{positive}-{other}",
                f"ROC-AUC, {positive} against {other}",
                says,
                needs,
                partial(_between, one=at, other=number),
            )
    needs = partial(_one_and_rest, number=at)
    for share in FIXED:
        says = f"The sensitivity for {positive} at the best threshold on these scans that keeps a specificity of {share:.0%}."
        values = partial(_against_rest, number=at, measure=partial(_at_fixed, of=ranking.sensitivity_at, share=share))
        yield _measure(f"sensitivity_at_{share:.2f}", f"Sensitivity at specificity {share:.0%}, {positive}", says, needs, values)
        says = f"The specificity for {positive} at the best threshold on these scans that keeps a sensitivity of {share:.0%}."
        values = partial(_against_rest, number=at, measure=partial(_at_fixed, of=ranking.specificity_at, share=share))
        yield _measure(f"specificity_at_{share:.2f}", f"Specificity at sensitivity {share:.0%}, {positive}", says, needs, values)


def _measure(
    name: str,
    title: str,
    says: str,
    needs: Callable[[Cases], dict[str, Rows]],
    values: Callable[[Cases, Weights], Values],
    unit: str = "share",
    higher: bool | None = True,
    section: str = "classification",
) -> Measure:
    return Measure(
        name=name, title=title, says=says, section=section, unit=unit, higher_is_better=higher, needs=needs, values=values
    )


def _known_classes(cases: Cases) -> dict[str, Rows]:
    return {"scans whose class is known and called": cases.has_class}


def _each_class(cases: Cases) -> dict[str, Rows]:
    """Return the scans of each class that occurs; at least two classes."""
    parts = {f"{name} scans": cases.has_class & (cases.labels == at) for at, name in enumerate(cases.classes)}
    seen = {name: rows for name, rows in parts.items() if rows.any()}
    return seen if len(seen) > 1 else {"scans of a second class": np.zeros(len(cases), bool), **seen}


def _only(cases: Cases, *, number: int) -> dict[str, Rows]:
    return {f"{cases.classes[number]} scans": cases.has_class & (cases.labels == number)}


def _called(cases: Cases, *, number: int) -> dict[str, Rows]:
    return {f"scans called {cases.classes[number]}": cases.has_class & (cases.called == number)}


def _one_and_rest(cases: Cases, *, number: int) -> dict[str, Rows]:
    rest = cases.has_class & (cases.labels != number)
    return {**_only(cases, number=number), f"scans that are not {cases.classes[number]}": rest}


def _two_classes(cases: Cases, *, one: int, other: int) -> dict[str, Rows]:
    return {**_only(cases, number=one), **_only(cases, number=other)}


def _counted(cases: Cases, weights: Weights, *, measure: Counted) -> Values:
    return measure(classification.confusion(cases.labels, cases.called, len(cases.classes), weights))


def _column_of(table: classification.Confusion, *, of: Counted, number: int) -> Values:
    return of(table)[:, number]


def _against_rest(cases: Cases, weights: Weights, *, number: int, measure: Ranked) -> Values:
    rows = cases.has_class
    return measure(cases.probabilities[rows, number], cases.labels[rows] == number, weights[:, rows])


def _at_fixed(scores: NDArray[np.float64], positive: Rows, weights: Weights, *, of: Ranked, share: float) -> Values:
    return of(scores, positive, share, weights)


def _between(cases: Cases, weights: Weights, *, one: int, other: int) -> Values:
    rows = cases.has_class & np.isin(cases.labels, (one, other))
    pair = cases.probabilities[rows][:, (one, other)]
    among = np.divide(pair[:, 0], pair.sum(axis=1), out=np.full(len(pair), 0.5), where=pair.sum(axis=1) > 0)
    return ranking.roc_auc(among, cases.labels[rows] == one, weights[:, rows])


def _macro(cases: Cases, weights: Weights, *, measure: Ranked) -> Values:
    seen = np.unique(cases.labels[cases.has_class])
    if not len(seen):
        return np.full(len(weights), np.nan)
    found: Values = np.mean([_against_rest(cases, weights, number=int(number), measure=measure) for number in seen], axis=0)
    return found


def _confidence(cases: Cases) -> tuple[NDArray[np.float64], Rows, Rows]:
    """Return the confidence and the correctness of the predicted class for scans of known class, and which scans these are."""
    rows = cases.has_class
    return cases.probabilities[rows].max(axis=1, initial=0.0), cases.called[rows] == cases.labels[rows], rows


def _ece(cases: Cases, weights: Weights) -> Values:
    confidence, right, rows = _confidence(cases)
    return calibration.calibration_error(confidence, right, weights[:, rows])


def _class_ece(cases: Cases, weights: Weights, *, number: int) -> Values:
    return _against_rest(cases, weights, number=number, measure=calibration.calibration_error)


def _overconfidence(cases: Cases, weights: Weights) -> Values:
    confidence, right, rows = _confidence(cases)
    return mean(confidence - right, weights[:, rows])


def _aurc(cases: Cases, weights: Weights) -> Values:
    confidence, right, rows = _confidence(cases)
    return calibration.area_under_risk(confidence, right, weights[:, rows])


def _of_truth(cases: Cases, weights: Weights, *, measure: Ranked) -> Values:
    rows = cases.has_class
    return measure(cases.probabilities[rows], cases.labels[rows], weights[:, rows])
