"""Measures of stored operating points and of unflagged predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import Measure, Rows, mean_of
from bcdseg.evaluation.results_table import Cases
from bcdseg.inference.rules import OperatingPoint, Rules


def point_measures(cases: Cases, rules: Rules) -> Iterator[Measure]:
    """Yield the sensitivity and specificity on these scans at thresholds that were chosen on other scans.

    The measures of predictions that are not flagged as unsure follow.
    """
    if not cases.has_class.any():
        return
    for point in rules.operating_points:
        number, rest = cases.classes.index(point.positive), f"scans that are not {point.positive}"
        for what, name, is_class in (("Sensitivity", f"{point.positive} scans", True), ("Specificity", rest, False)):
            where = partial(_scans, number=number, is_class=is_class)
            yield Measure(
                name=f"{what.lower()}/{point.name}",
                title=f"{what} for {point.positive} at the operating point “{point.name}”",
                definition=f"{point.positive} is predicted from a probability of {point.threshold:.3g} on; that threshold was "
                f"chosen on {point.scans} validation scans, not on these.",
                section="classification",
                unit="fraction",
                higher_is_better=True,
                needs=partial(_part, name=name, where=where),
                values=mean_of(partial(_correct, point=point, number=number, is_class=is_class), where),
            )
    yield from _sure_measures(rules.min_confidence)


def _sure_measures(least: float) -> Iterator[Measure]:
    known, sure = "scans of known and predicted class", "scans not flagged as unsure"
    yield Measure(
        name="sure_share",
        title="Predictions not flagged as unsure",
        definition=f"The fraction of the scans with a confidence of {least:.0%} or more, the model's own threshold.",
        section="calibration",
        unit="fraction",
        higher_is_better=None,
        needs=partial(_part, name=known, where=_known),
        values=mean_of(partial(_is_sure, least=least), _known),
    )
    yield Measure(
        name="sure_accuracy",
        title="Accuracy of predictions not flagged",
        definition="The fraction of these predictions that is correct.",
        section="calibration",
        unit="fraction",
        higher_is_better=True,
        needs=partial(_part, name=sure, where=partial(_sure, least=least)),
        values=mean_of(_right, partial(_sure, least=least)),
    )


def _part(cases: Cases, *, name: str, where: Callable[[Cases], Rows]) -> dict[str, Rows]:
    return {name: where(cases)}


def _known(cases: Cases) -> Rows:
    return cases.has_class


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
