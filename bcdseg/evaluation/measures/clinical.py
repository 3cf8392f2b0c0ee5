"""Measures of clinical use: predictive values, number needed to biopsy, net benefit, stored operating points.

A decision rule predicts the positive class: where it is the most probable class, or from the threshold of a stored operating point
on. All measures compare the positive class with the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.classes import against_rest, class_measure, one_and_rest
from bcdseg.evaluation.measures.measure import KNOWN_CLASS, Kind, Measure, Rows, mean_of
from bcdseg.evaluation.metrics.clinical import net_benefit, number_needed_to_biopsy, predictive_values
from bcdseg.evaluation.metrics.weighted import Values, Weights, divide
from bcdseg.evaluation.results_table import Cases
from bcdseg.inference.rules import OperatingPoint, Rules
from bcdseg.messages import counted, percent

THRESHOLDS = (0.02, 0.10, 0.50)
"""Probabilities of malignancy at which BI-RADS categories 4A, 4B and 4C start."""

MOST_PROBABLE = ""
"""Name of the rule that predicts the most probable class."""


def clinical_measures(
    cases: Cases, *, prevalences: Sequence[float] = (), points: Sequence[OperatingPoint] = ()
) -> Iterator[Measure]:
    """Yield the measures of clinical use for the positive class.

    Args:
        cases: Results table.
        prevalences: Prevalences of the positive class at which to state predictive values, besides that of the test scans.
        points: Stored operating points for the positive class.
    """
    if cases.positive is None:
        return
    positive, number = cases.positive, cases.classes.index(cases.positive)
    rules = {MOST_PROBABLE: None, **{point.name: point for point in points if point.positive == positive}}
    for rule, point in rules.items():
        where = f"at the operating point “{rule}”" if rule else f"where {positive} is the most probable class"
        for prevalence in (None, *prevalences):
            yield from _predictive(positive, number, rule, where, point, prevalence)
    for threshold in THRESHOLDS:
        for prevalence in (None, *prevalences):
            at, end = _at(prevalence), _end(prevalence)
            yield class_measure(
                f"net_benefit_{threshold:.2f}{end}",
                f"Net benefit at {percent(threshold)}, {positive}{at}",
                "True positives minus weighted false positives, per scan, when scans from a probability of "
                f"{percent(threshold)} on are biopsied; no biopsies have a net benefit of 0.",
                partial(one_and_rest, number=number),
                partial(against_rest, number=number, measure=partial(_net_benefit, threshold=threshold, prevalence=prevalence)),
                unit="score",
                section="clinical",
            )


def _predictive(
    positive: str, number: int, rule: str, where: str, point: OperatingPoint | None, prevalence: float | None
) -> Iterator[Measure]:
    at, end, on = _at(prevalence), _end(prevalence), f", {rule}" if rule else ""
    given = "" if prevalence is None else f" It follows from sensitivity and specificity at a prevalence of {prevalence:.3g}."
    rows: tuple[tuple[str, str, str, str, bool], ...] = (
        ("ppv", "PPV", f"The fraction of the scans predicted {positive} that are {positive}, {where}.", "fraction", True),
        ("npv", "NPV", f"The fraction of the scans not predicted {positive} that are not {positive}, {where}.", "fraction", True),
        (
            "number_needed_to_biopsy",
            "Number needed to biopsy",
            f"Scans predicted {positive} for each that is {positive} (1 / PPV), {where}.",
            "count",
            False,
        ),
    )
    for kind, title, definition, unit, higher in rows:
        yield class_measure(
            f"{kind}{rule and '/'}{rule}{end}",
            f"{title}, {positive}{on}{at}",
            definition + given,
            partial(one_and_rest, number=number),
            partial(_predictive_value, kind=kind, number=number, point=point, prevalence=prevalence),
            unit=unit,
            higher_is_better=higher,
            section="clinical",
            limits=(1.0, np.inf) if kind == "number_needed_to_biopsy" else None,
        )


def _at(prevalence: float | None) -> str:
    return "" if prevalence is None else f", at a prevalence of {100 * prevalence:.3g} %"


def _end(prevalence: float | None) -> str:
    return "" if prevalence is None else f"@{prevalence:.3g}"


def _predictive_value(
    cases: Cases, weights: Weights, *, kind: str, number: int, point: OperatingPoint | None, prevalence: float | None
) -> Values:
    rows = cases.has_class
    truth, positive, counts = cases.labels[rows] == number, _is_positive(cases, number, point)[rows], weights[:, rows]
    if prevalence is None:
        ppv = divide(counts @ (positive & truth), counts @ positive)
        npv = divide(counts @ ~(positive | truth), counts @ ~positive)
    else:
        sensitivity = divide(counts @ (positive & truth), counts @ truth)
        specificity = divide(counts @ ~(positive | truth), counts @ ~truth)
        ppv, npv = predictive_values(sensitivity, specificity, prevalence)
    return {"ppv": ppv, "npv": npv, "number_needed_to_biopsy": number_needed_to_biopsy(ppv)}[kind]


def _is_positive(cases: Cases, number: int, point: OperatingPoint | None) -> Rows:
    rows: Rows = cases.predicted == number if point is None else cases.probabilities[:, number] >= point.threshold
    return rows


def _net_benefit(
    y_true: Rows, y_prob: NDArray[np.float64], weights: Weights, *, threshold: float, prevalence: float | None
) -> Values:
    return net_benefit(y_true, y_prob, threshold, weights, prevalence=prevalence)


def point_measures(cases: Cases, rules: Rules) -> Iterator[Measure]:
    """Yield the sensitivity and specificity on these scans at thresholds that were chosen before.

    The measures of predictions that are not flagged as unsure follow.
    """
    if not cases.has_class.any():
        return
    for point in rules.operating_points:
        number, rest = cases.classes.index(point.positive), f"scans that are not {point.positive}"
        for what, name, is_class in (("Sensitivity", f"{point.positive} scans", True), ("Specificity", rest, False)):
            scans = Kind(name, partial(_scans, number=number, is_class=is_class))
            yield Measure(
                name=f"{what.lower()}/{point.name}",
                title=f"{what} for {point.positive} at the operating point “{point.name}”",
                definition=f"{point.positive} is predicted from a probability of {point.threshold:.3g} on; that threshold was "
                f"chosen on {counted(point.scans, 'scan')}.",
                section="classification",
                unit="fraction",
                higher_is_better=True,
                needs=scans,
                values=mean_of(partial(_correct, point=point, number=number, is_class=is_class), scans),
            )
    yield from _sure_measures(rules.min_confidence)


def _sure_measures(least: float) -> Iterator[Measure]:
    sure = Kind("scans not flagged as unsure", partial(_sure, least=least))
    yield Measure(
        name="sure_share",
        title="Predictions not flagged as unsure",
        definition=f"The fraction of the scans with a confidence of {percent(least)} or more, the model's own threshold.",
        section="calibration",
        unit="fraction",
        higher_is_better=None,
        needs=KNOWN_CLASS,
        values=mean_of(partial(_is_sure, least=least), KNOWN_CLASS),
    )
    yield Measure(
        name="sure_accuracy",
        title="Accuracy of predictions not flagged",
        definition="The fraction of the predictions not flagged as unsure that is correct.",
        section="calibration",
        unit="fraction",
        higher_is_better=True,
        needs=sure,
        values=mean_of(_right, sure),
    )


def _scans(cases: Cases, *, number: int, is_class: bool) -> Rows:
    rows: Rows = cases.has_class & ((cases.labels == number) == is_class)
    return rows


def _correct(cases: Cases, *, point: OperatingPoint, number: int, is_class: bool) -> NDArray[np.float64]:
    positive: NDArray[np.bool_] = cases.probabilities[:, number] >= point.threshold
    return np.where(positive == is_class, 1.0, 0.0)


def _is_sure(cases: Cases, *, least: float) -> NDArray[np.float64]:
    return np.where(cases.probabilities.max(axis=1, initial=0.0) >= least, 1.0, 0.0)


def _sure(cases: Cases, *, least: float) -> Rows:
    rows: Rows = cases.has_class & (_is_sure(cases, least=least) == 1)
    return rows


def _right(cases: Cases) -> NDArray[np.float64]:
    return np.where(cases.predicted == cases.labels, 1.0, 0.0)
