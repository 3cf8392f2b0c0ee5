"""Decision rules fitted on a model's outputs for the scans of a site, as pure functions of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.dataset import Dataset
from bcdseg.data.masks import dice
from bcdseg.evaluation.calibrate import FLAGGED, choose_points
from bcdseg.evaluation.case_results import CaseResult, predict_cases
from bcdseg.evaluation.metrics.calibration import fit_offset, fit_temperature
from bcdseg.evaluation.results_table import UNKNOWN, Cases, Column, table_of
from bcdseg.inference.lesions import without_small_components
from bcdseg.inference.rules import Rules
from bcdseg.model.model import Model
from bcdseg.runtimes.base import Calibration

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(4, 17))
HIGHEST = 0.999  # presence threshold
HALF_WIDTH = 0.1  # of the 95 % interval of a fraction that a threshold is to reach
Rows = NDArray[np.bool_]
RuleFit = Callable[["SiteTable", Rules], Rules]


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteTable:
    """Outputs and truth that decision rules are fitted on: one row per scan.

    Attributes:
        cases: Results table of the model.
        thresholds: Mask thresholds.
        dice: Dice of the outline at each mask threshold, scans x thresholds; NaN where the mask or its truth is missing.
        outlined: 1 where something is outlined at each mask threshold, else 0; NaN where the mask is missing.
    """

    cases: Cases
    thresholds: tuple[float, ...]
    dice: Column
    outlined: Column

    def select(self, rows: Rows) -> SiteTable:
        """Return some of the scans."""
        return replace(self, cases=self.cases.select(rows), dice=self.dice[rows], outlined=self.outlined[rows])

    def presence(self, calibration: Calibration) -> Column:
        """Return each scan's probability of a lesion; 1 for a model without a negative class."""
        if self.cases.no_lesion is None:
            return np.ones(len(self.cases))
        absence = calibration.probabilities(self.cases.logits)[:, self.cases.classes.index(self.cases.no_lesion)]
        return np.asarray(1 - absence)

    def under(self, rules: Rules) -> Cases:
        """Return the results table under other rules. Of the columns of ``outline`` only ``dice`` follows."""
        at = self.thresholds.index(rules.threshold)
        found = self.presence(rules.calibration) >= (rules.presence_threshold or 0)
        clear = self.cases.outline["truth_area"] == 0
        overlap = np.where(found | np.isnan(self.dice[:, at]), self.dice[:, at], np.where(clear, 1.0, 0.0))
        outlined = np.where(np.isnan(self.outlined[:, at]), np.nan, self.outlined[:, at] * found)
        probabilities = rules.calibration.probabilities(self.cases.logits) if self.cases.classes else self.cases.probabilities
        return replace(self.cases, probabilities=probabilities, outlined=outlined, outline={**self.cases.outline, "dice": overlap})


def site_table(model: Model, scans: Dataset) -> SiteTable:
    """Predict every scan once, and compare its outline with the truth at each mask threshold."""
    thresholds = tuple(sorted({*THRESHOLDS, model.rules.threshold}))
    results = []
    for result in predict_cases(model, scans):
        results.append((result.case, *_at_thresholds(result, thresholds, model.rules.min_lesion_share)))
    cases = table_of((case for case, _, _ in results), classes=model.classes, no_lesion=model.no_lesion)
    overlaps, outlined = (np.array([result[place] for result in results]) for place in (1, 2))
    return SiteTable(cases=cases, thresholds=thresholds, dice=overlaps, outlined=outlined)


def _at_thresholds(result: CaseResult, thresholds: Sequence[float], min_share: float) -> tuple[list[float], list[float]]:
    """Return the Dice of the outline and whether there is one, at each threshold."""
    probability = result.prediction.mask_probability
    if probability is None:
        return [math.nan] * len(thresholds), [math.nan] * len(thresholds)
    top, left, bottom, right = result.prediction.area or (0, 0, *probability.shape)
    smallest = min_share * (bottom - top) * (right - left)
    masks = [without_small_components(probability >= threshold, smallest) for threshold in thresholds]
    overlaps = [math.nan if result.truth is None else dice(result.truth, mask) for mask in masks]
    return overlaps, [float(mask.any()) for mask in masks]


def with_calibration(table: SiteTable, rules: Rules, calibration: Calibration) -> Rules:
    """Return the rules with another calibration, and all thresholds on class probabilities moved along.

    A threshold moves to the probability that as many of these scans reach with the new calibration, so that as many are decided as
    before. Between the scans' probabilities it is interpolated.
    """
    before, after = (one.probabilities(table.cases.logits) for one in (rules.calibration, calibration))
    classes = table.cases.classes

    def moved(threshold: float, old: Column, new: Column) -> float:
        return float(np.interp(threshold, [0, *np.sort(old), 1], [0, *np.sort(new), 1]))

    def of_class(threshold: float, name: str) -> float:
        at = classes.index(name)
        return moved(threshold, before[:, at], after[:, at])

    presence = rules.presence_threshold
    if presence:
        found = moved(presence, table.presence(rules.calibration), table.presence(calibration))
        presence = min(found, max(presence, HIGHEST))
    return replace(
        rules,
        temperature=calibration.temperature,
        class_offsets=calibration.offsets,
        min_confidence=moved(rules.min_confidence, before.max(axis=1), after.max(axis=1)),
        presence_threshold=presence,
        operating_points=tuple(
            replace(point, threshold=of_class(point.threshold, point.positive)) for point in rules.operating_points
        ),
        conformal_thresholds=tuple(map(of_class, rules.conformal_thresholds, classes)),
    )


def fit_temperature_rule(table: SiteTable, rules: Rules) -> Rules:
    """Fit the temperature that minimises the negative log-likelihood of the true classes."""
    known = table.cases.has_class
    if not known.any():
        return rules
    offsets = rules.class_offsets
    temperature = fit_temperature(table.cases.logits[known], table.cases.labels[known], offsets)
    return with_calibration(table, rules, Calibration(temperature, offsets))


def fit_class_frequencies(table: SiteTable, rules: Rules) -> Rules:
    """Fit the offset of the negative class together with the temperature, for the fraction of scans without a lesion here."""
    cases = table.cases
    if cases.no_lesion is None or not cases.has_class.any():
        return rules
    at = cases.classes.index(cases.no_lesion)
    temperature, offset = fit_offset(cases.logits[cases.has_class], cases.labels[cases.has_class], at)
    offsets = tuple(offset if number == at else 0.0 for number in range(len(cases.classes)))
    return with_calibration(table, rules, Calibration(temperature, offsets))


def fit_confidence(table: SiteTable, rules: Rules) -> Rules:
    """Fit the confidence threshold that flags a tenth of the scans."""
    confidence = table.under(rules).probabilities.max(axis=1)
    return replace(rules, min_confidence=float(np.quantile(confidence, FLAGGED)))


def fit_presence(table: SiteTable, rules: Rules, *, shown: float) -> Rules:
    """Fit the highest presence threshold at which a fraction of the lesions that are outlined stay findings."""
    at = table.thresholds.index(rules.threshold)
    lesions = np.sort(table.presence(rules.calibration)[table.cases.lesion & (table.outlined[:, at] == 1)])
    if not len(lesions):
        return rules
    hidden = math.floor((1 - shown) * len(lesions) + 1e-9)
    return replace(rules, presence_threshold=float(min(lesions[hidden], HIGHEST)))


def fit_mask_threshold(table: SiteTable, rules: Rules) -> Rules:
    """Fit the mask threshold with the highest mean Dice of lesions, the nearest to the present one of equals."""
    lesion = table.cases.lesion & ~np.isnan(table.dice).any(axis=1)
    if not lesion.any():
        return rules
    found = table.presence(rules.calibration) >= (rules.presence_threshold or 0)
    means = (table.dice[lesion] * found[lesion][:, None]).mean(axis=0)
    best = np.flatnonzero(means == means.max())
    return replace(rules, threshold=min((table.thresholds[at] for at in best), key=lambda one: abs(one - rules.threshold)))


def fit_point(table: SiteTable, rules: Rules, *, kind: str, fraction: float, positive: str) -> Rules:
    """Fit the operating point that reaches a sensitivity or a specificity; the rules' other points are kept."""
    cases = table.under(rules)
    known, number = cases.has_class, cases.classes.index(positive)
    truth = cases.labels[known] == number
    if not truth.any() or truth.all():
        return rules
    (point,) = choose_points(cases.classes, cases.probabilities[known], cases.labels[known], [(kind, fraction)], positive)
    others = tuple(one for one in rules.operating_points if one.name != point.name)
    return replace(rules, operating_points=(*others, point))


def fit_label_sets(table: SiteTable, rules: Rules, *, coverage: float, by_class: bool) -> Rules:
    """Fit the thresholds of conformal label sets by split conformal prediction.

    The threshold is the floor((n + 1)(1 - coverage))-th lowest probability of the true class among n scans. A new scan's set then
    contains its true class with at least the stated probability, if the scans are exchangeable (Vovk, Gammerman, Shafer,
    Algorithmic learning in a random world, 2005).

    Args:
        table: Scans.
        rules: Rules to change.
        coverage: Probability that the set contains the true class.
        by_class: Whether each class has a threshold of its own, so that each class reaches the coverage.
    """
    cases = table.under(rules)
    labels = np.where(cases.has_class, cases.labels, UNKNOWN)
    classes = range(len(cases.classes))
    own = [cases.probabilities[labels == number, number] for number in classes]
    pooled = np.concatenate(own)
    thresholds = tuple(_conformal_threshold(own[number] if by_class else pooled, coverage) for number in classes)
    return replace(rules, conformal_coverage=coverage, conformal_thresholds=thresholds)


def _conformal_threshold(of_truth: Column, coverage: float) -> float:
    place = math.floor((len(of_truth) + 1) * (1 - coverage) + 1e-9)
    return float(np.sort(of_truth)[place - 1]) if place else 0.0


def needed_groups(fraction: float) -> int:
    """Return the number of groups from which a threshold that is to reach a fraction of new scans is determined.

    The fraction that a threshold reaches on new scans has a 95 % interval of about 1.96 sqrt(f (1 - f) / n) on each side, when it
    was chosen on n scans. It is to be at most 0.1, and the quantile is to be inside the scans: n is at least 1 / (1 - f).
    """
    return max(math.ceil(fraction * (1 - fraction) * (1.96 / HALF_WIDTH) ** 2), math.ceil(1 / (1 - fraction) - 1e-9))
