"""Decision rules fitted one after another, and by cross-fitting, to the scans of a site."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.calibrate import FLAGGED
from bcdseg.evaluation.measures.intervals import FEWEST_GROUPS
from bcdseg.evaluation.results_table import Cases
from bcdseg.evaluation.site.effects import (
    Outcome,
    Quantity,
    SiteEffect,
    class_quantities,
    effects,
    outcome,
    outline_quantities,
)
from bcdseg.evaluation.site.rules import (
    RuleFit,
    SiteTable,
    fit_class_frequencies,
    fit_confidence,
    fit_label_sets,
    fit_mask_threshold,
    fit_point,
    fit_presence,
    fit_temperature_rule,
    needed_groups,
)
from bcdseg.inference.rules import Rules
from bcdseg.messages import counted, percent

FOLDS = 5
FARTHEST = 20  # times the number of groups: farther extrapolations mean little


@dataclass(frozen=True, kw_only=True)
class RuleChange:
    """A decision rule, and whether the scans of a site have changed it.

    Attributes:
        rule: Name of the rule.
        changed: Whether it was changed.
        reason: Reason, with the figures that decided; for a rule that is kept also how many more groups would be needed.
    """

    rule: str
    changed: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.rule}: {'changed' if self.changed else 'kept'}; {self.reason}"


class Fitting:
    """Rules that are fitted one after another: on all scans, and for each fold on the scans outside of it."""

    def __init__(
        self,
        table: SiteTable,
        rules: Rules,
        *,
        positive: str | None,
        wanted: Sequence[tuple[str, float]],
        draws: int,
        seed: int,
    ) -> None:
        self.table, self.cases, self.rules = table, table.cases, rules
        self.folds = _folds(table.cases, seed)
        self.by_fold = [rules] * FOLDS
        self.before = self._outcome(self.by_fold)
        self.changes: list[RuleChange] = []
        self.positive, self.wanted, self.draws, self.seed = positive, list(wanted), draws, seed
        names = [point.name for point in rules.operating_points if point.positive == positive]
        points = [*names, *(name for name in map(_point_name, wanted) if name not in names)]
        self.quantities = dict([*outline_quantities(self.cases), *class_quantities(self.cases, positive, points)])

    def fit_frequencies(self, *, wanted: bool) -> None:
        """Fit the offset of the negative class if wanted; a higher one must not lower the sensitivity."""
        if self.cases.no_lesion is None or not self.cases.has_class.any():
            return
        if not wanted:
            self.changes.append(RuleChange(rule="class frequencies", changed=False, reason=_frequencies(self.table, self.rules)))
            return
        if self._keep_of_one_class("class frequencies"):
            return
        fitted = fit_class_frequencies(self.table, self.rules)
        is_higher = sum(fitted.class_offsets) > sum(self.rules.class_offsets)  # all others are 0
        refused = self._loss_of_sensitivity(fit_class_frequencies) if is_higher else ""
        if refused:
            self.changes.append(RuleChange(rule="class frequencies", changed=False, reason=refused))
        else:
            self._improve("class frequencies", "log_loss", fit_class_frequencies)

    def _loss_of_sensitivity(self, fit: RuleFit) -> str:
        """Return the sentence that a rule lowers the sensitivity, or that this is unknown; empty where it doesn't."""
        if self.positive is None:
            return "the model has no class malignant: name the class whose sensitivity must not fall with positive"
        quantity = {"sensitivity": self.quantities["sensitivity"]}
        before, after = self._outcome(self.by_fold), self._outcome(self._fitted(fit))
        effect = effects(quantity, before, after, draws=self.draws, seed=self.seed)["sensitivity"]
        if effect.gain.value is None:
            return f"whether the sensitivity falls is unknown ({effect.gain.note})"
        return f"{effect.title} would change by {effect.gain.value:+.3f}" if effect.gain.value < 0 else ""

    def fit_class_rules(self) -> None:
        """Fit temperature and confidence threshold."""
        if not self.cases.has_class.any() or self._keep_of_one_class("temperature", "confidence threshold"):
            return
        self._improve("temperature", "log_loss", fit_temperature_rule)
        self._reach("confidence threshold", "sure", 1 - FLAGGED, fit_confidence)

    def fit_outline_rules(self, shown: float) -> None:
        """Fit presence threshold and mask threshold.

        A higher presence threshold has to show fewer false lesions, and a lower one has to miss fewer lesions.
        """
        if not self.cases.has_mask.any():
            return
        if self.cases.no_lesion is not None:
            fit = partial(fit_presence, shown=shown)
            have, needed = self._groups(self.quantities["missed"]), needed_groups(shown)
            raised = (fit(self.table, self.rules).presence_threshold or 0) > (self.rules.presence_threshold or 0)
            if have < needed:
                reason = _too_few(f"a threshold that shows {shown:g} of the lesions", needed, "scans with a lesion", have)
                self.changes.append(RuleChange(rule="presence threshold", changed=False, reason=reason))
            else:
                self._improve("presence threshold", "false_lesions" if raised else "missed", fit)
        self._improve("mask threshold", "dice", fit_mask_threshold)

    def fit_points(self) -> None:
        """Fit the operating points."""
        if not self.wanted or not self.cases.has_class.any():
            return
        if self.positive is None:
            reason = "the model has no class malignant: name the class that they predict with positive"
            self.changes.append(RuleChange(rule="operating points", changed=False, reason=reason))
            return
        truth = self.cases.labels[self.cases.has_class] == self.cases.classes.index(self.positive)
        if truth.all() or not truth.any():
            reason = f"{'all' if truth.all() else 'no'} labels are {self.positive}, and they need {self.positive} scans and others"
            self.changes.append(RuleChange(rule="operating points", changed=False, reason=reason))
            return
        for kind, fraction in self.wanted:
            name = _point_name((kind, fraction))
            fit = partial(fit_point, kind=kind, fraction=fraction, positive=self.positive)
            self._reach(f"operating point “{name}”", f"{kind}/{name}", fraction, fit)

    def fit_label_sets(self, coverage: float) -> None:
        """Fit the label sets, of each class where each has enough groups."""
        if not self.cases.has_class.any() or self._keep_of_one_class("label sets"):
            return
        counts = [self._groups(self.quantities[f"coverage/{name}"]) for name in self.cases.classes]
        by_class = min(counts) >= needed_groups(coverage)
        fit = partial(fit_label_sets, coverage=coverage, by_class=by_class)
        self._reach(f"label sets {'of each class' if by_class else 'of all classes together'}", "coverage", coverage, fit)

    def _keep_of_one_class(self, *rules: str) -> bool:
        """Return whether all labels are one class, and record that rules, which would only fit this class, are kept."""
        labels = np.unique(self.cases.labels[self.cases.has_class])
        if len(labels) > 1:
            return False
        reason = f"all labels are {self.cases.classes[labels[0]]}, and it needs scans of two classes or more"
        self.changes += [RuleChange(rule=rule, changed=False, reason=reason) for rule in rules]
        return True

    def effects(self) -> dict[str, SiteEffect]:
        """Return the effects of all changes."""
        return effects(self.quantities, self.before, self._outcome(self.by_fold), draws=self.draws, seed=self.seed)

    def _outcome(self, by_fold: Sequence[Rules]) -> Outcome:
        return outcome(self.table, self.folds, by_fold)

    def _fitted(self, fit: RuleFit) -> list[Rules]:
        return [fit(self.table.select(self.folds != fold), rules) for fold, rules in enumerate(self.by_fold)]

    def _groups(self, quantity: Quantity) -> int:
        """Return the number of groups of the rarest kind of scans that a quantity needs."""
        return min(len(np.unique(self.cases.group_numbers[rows])) for rows in quantity.needs.values())

    def _improve(self, rule: str, measure: str, fit: RuleFit) -> None:
        """Change a rule where that improves a quantity, by an interval without 0."""
        by_fold = self._fitted(fit)
        quantity = self.quantities[measure]
        before, after = self._outcome(self.by_fold), self._outcome(by_fold)
        effect = effects({measure: quantity}, before, after, draws=self.draws, seed=self.seed)[measure]
        if effect.is_better:
            self.rules, self.by_fold = fit(self.table, self.rules), by_fold
        self.changes.append(RuleChange(rule=rule, changed=effect.is_better, reason=self._reason(effect, quantity)))

    def _reason(self, effect: SiteEffect, quantity: Quantity) -> str:
        gain, groups = effect.gain, self._groups(quantity)
        if groups < FEWEST_GROUPS:
            kind = min(quantity.needs, key=lambda name: len(np.unique(self.cases.group_numbers[quantity.needs[name]])))
            return _too_few("an interval", FEWEST_GROUPS, kind, groups)
        if gain.value is None or gain.low is None or gain.high is None:
            return f"no better value was found ({gain.note})"
        what = f"{effect.title} changes by {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        if effect.is_better:
            return what
        toward = gain.value if effect.higher_is_better else -gain.value
        more = math.ceil(groups * (((gain.high - gain.low) / 2 / toward) ** 2 - 1)) if toward > 0 else math.inf
        if more > FARTHEST * groups:
            return f"{what}: no improvement that more scans would be likely to confirm"
        return f"{what}: to confirm this improvement takes about {counted(max(1, int(more)), 'more group')}"

    def _reach(self, rule: str, measure: str, fraction: float, fit: RuleFit) -> None:
        """Change a rule where it doesn't reach a fraction, and where the groups are enough to determine it."""
        quantity, needed = self.quantities[measure], needed_groups(fraction)
        (kind,), have = quantity.needs, self._groups(quantity)
        now = self._outcome(self.by_fold)
        reached = effects({measure: quantity}, now, now, draws=self.draws, seed=self.seed)[measure].before
        if have < needed:
            none = "" if reached.value is not None else "the model has no such rule; "
            reason, change = none + _too_few(f"a rule for a fraction of {fraction:g}", needed, kind, have), False
        elif reached.value is None:
            reason, change = f"the model had no such rule; it is fitted for a fraction of {fraction:g}", True
        else:
            change = reached.low is None or reached.high is None or not reached.low <= fraction <= reached.high
            interval = "no interval" if reached.low is None else f"{reached.low:.3f} to {reached.high:.3f}"
            reason = f"its fraction should be {fraction:g}, and is {reached.value:.3f} ({interval}) now"
        if change:
            self.by_fold, self.rules = self._fitted(fit), fit(self.table, self.rules)
        self.changes.append(RuleChange(rule=rule, changed=change, reason=reason))


def _frequencies(table: SiteTable, rules: Rules) -> str:
    """Return how frequent the negative class is, how frequent the model expects it to be, and what would adapt the model."""
    known, negative = table.cases.has_class, str(table.cases.no_lesion)
    at = table.cases.classes.index(negative)
    found, expected = (table.cases.labels[known] == at).mean(), 1 - table.presence(rules.calibration)[known].mean()
    return (
        f"{percent(found)} of these scans are {negative}, and their mean probability of it is {percent(expected)}; "
        "class_frequencies adapts the model to scans that are collected as they come"
    )


def _too_few(what: str, needed: int, kind: str, have: int) -> str:
    """Return the reason for a rule that is kept because groups are missing."""
    more = needed - have
    return f"{what} needs {needed} groups of {kind}, not {have}: {more} more {'is' if more == 1 else 'are'} needed"


def _point_name(wanted: tuple[str, float]) -> str:
    return f"{wanted[0]} {wanted[1]:g}"


def _folds(cases: Cases, seed: int) -> NDArray[np.int64]:
    """Distribute the groups of each kind evenly to the folds, and return the fold of each scan."""
    numbers = cases.group_numbers
    count = int(numbers.max(initial=-1)) + 1
    kinds = np.full(count, -1)
    np.maximum.at(kinds, numbers, 2 * cases.labels + (cases.outline["truth_area"] > 0))
    order = np.lexsort((np.random.default_rng(seed).random(count), kinds))
    fold_of = np.empty(count, np.int64)
    fold_of[order] = np.arange(count) % FOLDS
    return np.asarray(fold_of[numbers])
