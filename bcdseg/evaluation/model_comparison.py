"""Comparison of two models on the same scans: paired intervals for every measure, and DeLong's test for areas under the curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bcdseg.data.labels import match_classes
from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.catalogue import all_measures, most_important
from bcdseg.evaluation.measures.intervals import FEWEST_GROUPS, Difference, compare, matched
from bcdseg.evaluation.measures.measure import Measure, p_value, signed
from bcdseg.evaluation.metrics.statistics import PairedAuc, holm, paired_auc
from bcdseg.evaluation.results_table import UNKNOWN, Cases
from bcdseg.messages import counted

if TYPE_CHECKING:
    from bcdseg.evaluation.results import Evaluation

Item = TypeVar("Item")
NO_VARIANCE = "the difference has no variance on these scans"


@dataclass(frozen=True, kw_only=True)
class AucTest:
    """DeLong's test of two areas under the ROC curve, of one class against the rest.

    Attributes:
        result: Both areas, their difference with its interval, and the p-value.
        p_holm: The p-value after Holm's correction for all classes of the comparison.
    """

    result: PairedAuc
    p_holm: float

    def __str__(self) -> str:
        found = self.result
        ends = f"{signed(found.low, 'fraction')} to {signed(found.high, 'fraction')}"
        return f"{signed(found.difference, 'fraction')} ({ends}), {p_value(found.p)}, after Holm {p_value(self.p_holm)}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The differences between two models on the same scans.

    Attributes:
        first: Name of the reference model.
        second: Name of the model that is compared with it.
        differences: Second minus first for each measure, with paired intervals.
        auc_tests: DeLong's test for each class with ten or more groups of scans, and as many of other scans; scans of one group
            count as dependent (Obuchowski).
        not_tested: Classes that have enough groups and no test, because the difference has no variance, as of two perfect models.
        shared: Classes that both models have; empty where both have the same classes.
        scans: Number of scans that both were measured on.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]
    auc_tests: Mapping[str, AucTest] = field(default_factory=dict)
    not_tested: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    scans: int = 0

    def sentence(self, measure: str) -> str:
        """Return a sentence on which model is better in a measure, by how much, and with which interval."""
        return named(self.differences, measure).sentence(self.first, self.second)

    def __repr__(self) -> str:
        shown = [one.name for one in most_important([one.measure for one in self.differences.values()])]
        tests = [f"  ROC-AUC, {label} against rest, DeLong: {test}" for label, test in self.auc_tests.items()]
        tests += [f"  ROC-AUC, {label} against rest, DeLong: no test: {NO_VARIANCE}" for label in self.not_tested]
        narrowed = (
            [f"  on the classes that both have: {', '.join(self.shared)} ({counted(self.scans, 'scan')})"] if self.shared else []
        )
        head = f"<Comparison of {self.second} with {self.first}>"
        return "\n".join([head, *narrowed, *(f"  {self.sentence(name)}" for name in shown), *tests])


def compare_evaluations(first: Evaluation, second: Evaluation) -> Comparison:
    """Compare the second model with the first; where their classes differ, on the classes and scans that both have."""
    check_tolerances((first, second))
    first = with_spellings(first, second)
    old, new = first.cases, second.cases
    own = [{one.name: one for one in evaluation.measures} for evaluation in (first, second)]
    shared: tuple[str, ...] = ()
    if old.predicts_classes and new.predicts_classes and set(old.classes) != set(new.classes):
        shared = tuple(name for name in old.classes if name in new.classes)
        old, new = _of_shared_scans(old, new)
        old, new = narrowed(old, shared), narrowed(new, shared)
        wanted = own[0].keys() & own[1].keys()
        own = [{one.name: one for one in all_measures(cases) if one.name in wanted} for cases in (old, new)]
    elif old.classes != new.classes:  # every other measure has the numbers of its own model's classes
        own[0] = {name: _with_order(one, new.classes) if one.section == "custom" else one for name, one in own[0].items()}
    names = [name for name in own[1] if name in own[0]]
    differences = compare(
        old,
        new,
        [own[1][name] for name in names],
        first_measures=[own[0][name] for name in names],
        draws=second.draws,
        seed=second.seed,
    )
    tests, not_tested = auc_tests(old, in_order(matched(old, new), old.classes))
    return Comparison(
        first=first.model,
        second=second.model,
        differences=differences,
        auc_tests=tests,
        not_tested=not_tested,
        shared=shared,
        scans=len(old),
    )


def with_spellings(evaluation: Evaluation, other: Evaluation) -> Evaluation:
    """Return an evaluation whose classes and measures have the spelling of another's classes, with a warning of other spellings."""
    cases = evaluation.cases
    spelled = match_classes(cases.classes, evaluation.model, other.cases.classes, other.model)
    if spelled == cases.classes:
        return evaluation
    known: dict[str | None, str] = dict(zip(cases.classes, spelled, strict=True))
    renamed = replace(cases, classes=spelled, positive=known.get(cases.positive), no_lesion=known.get(cases.no_lesion))
    names = {old.name: new.name for old, new in zip(all_measures(cases), all_measures(renamed), strict=True)}
    measures = tuple(replace(one, name=names.get(one.name, one.name)) for one in evaluation.measures)
    return replace(evaluation, cases=renamed, measures=measures)


def check_tolerances(evaluations: Sequence[Evaluation]) -> None:
    """Raise an error if the surface Dice of some evaluations has another tolerance."""
    found = {measure.definition: one.model for one in evaluations for measure in one.measures if measure.name == "surface_dice"}
    if len(found) > 1:
        first, second, *_ = found.values()
        raise OptionError(
            f"{first} and {second} were evaluated with different values of tolerance_mm, so their surface Dice can't be compared. "
            "Evaluate both with the same."
        )


def narrowed(cases: Cases, classes: Sequence[str]) -> Cases:
    """Return a table of some of its classes: probabilities are those among these, and scans of others have no known class.

    With fewer than two classes it has none, and only masks are compared.
    """
    kept = tuple(classes) if len(classes) > 1 else ()
    numbers = [cases.classes.index(name) for name in kept]
    labels = np.full(len(cases), UNKNOWN)
    for new, old in enumerate(numbers):
        labels[cases.labels == old] = new
    chosen = cases.probabilities[:, numbers]
    total = chosen.sum(axis=1, keepdims=True)
    even = np.full(chosen.shape, 1 / max(len(kept), 1))
    return replace(
        cases,
        classes=kept,
        labels=labels,
        probabilities=np.divide(chosen, total, out=even, where=total > 0),
        logits=cases.logits[:, numbers],
        positive=cases.positive if cases.positive in kept else None,
        no_lesion=cases.no_lesion if cases.no_lesion in kept else None,
    )


def in_order(cases: Cases, classes: Sequence[str]) -> Cases:
    """Return a table with its classes in this order, where they are the same classes, or where none are predicted."""
    if not cases.predicts_classes and cases.classes != tuple(classes):
        number = {name: at for at, name in enumerate(classes)}
        labels = [UNKNOWN if (name := cases.label(at)) is None else number.get(name, UNKNOWN) for at in range(len(cases))]
        unknown = np.full((len(cases), len(classes)), np.nan)
        return replace(
            cases,
            classes=tuple(classes),
            positive=None,
            no_lesion=None,
            labels=np.array(labels, np.int64),
            probabilities=unknown,
            logits=unknown,
        )
    return narrowed(cases, classes) if set(cases.classes) == set(classes) and cases.classes != tuple(classes) else cases


def auc_tests(first: Cases, second: Cases) -> tuple[dict[str, AucTest], tuple[str, ...]]:
    """Return DeLong's test for each class of two tables of the same scans, in the same order, and the classes without variance."""
    each = dict(_auc_tests(first, second))
    found = {name: one for name, one in each.items() if one is not None}
    corrected = holm(np.array([one.p for one in found.values()]))
    tests = {name: AucTest(result=one, p_holm=float(p)) for (name, one), p in zip(found.items(), corrected, strict=True)}
    return tests, tuple(name for name, one in each.items() if one is None)


def named(found: Mapping[str, Item], name: str) -> Item:
    """Return the item of a measure, or raise an OptionError that lists the measures."""
    if name not in found:
        raise OptionError(f"{name!r}: no measure has this name. There are {', '.join(found)}.")
    return found[name]


def _with_order(measure: Measure, classes: Sequence[str]) -> Measure:
    """Return a measure of the user whose function gets the numbers of the classes in this order."""
    return replace(measure, values=lambda cases, weights: measure.values(in_order(cases, classes), weights))


def _auc_tests(first: Cases, second: Cases) -> Iterator[tuple[str, PairedAuc | None]]:
    rows = first.has_class & second.has_class
    if first.classes != second.classes or not rows.any():
        return
    for number, name in enumerate(first.classes):
        if len(first.classes) == 2 and name != (first.positive or first.classes[-1]):
            continue  # with two classes, the area of one is that of the other
        truth, groups = first.labels[rows] == number, first.group_numbers[rows]
        if min(len(np.unique(groups[part])) for part in (truth, ~truth)) < FEWEST_GROUPS:
            continue
        yield name, paired_auc(truth, first.probabilities[rows, number], second.probabilities[rows, number], groups)


def _of_shared_scans(first: Cases, second: Cases) -> tuple[Cases, Cases]:
    """Return both tables without the scans of a class that the other model doesn't have, and that it was not measured on."""
    both = set(first.ids) & set(second.ids)

    def kept(cases: Cases, others: Cases) -> Cases:
        unknown = [(name := cases.label(at)) is not None and name not in others.classes for at in range(len(cases))]
        return cases.select([one in both or not odd for one, odd in zip(cases.ids, unknown, strict=True)])

    return kept(first, second), kept(second, first)
