"""Differences between two ways of reading, or between readers and a model, over readers and scans (MRMC)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import InputError, OptionError
from bcdseg.evaluation.measures.catalogue import most_important
from bcdseg.evaluation.measures.intervals import DRAWS, FEWEST_DRAWS, matched, resamples, without_interval
from bcdseg.evaluation.measures.measure import Estimate, Measure, Rows, number, p_value, shown_difference
from bcdseg.evaluation.metrics.readers import random_readers
from bcdseg.evaluation.metrics.weighted import once
from bcdseg.evaluation.model_comparison import check_tolerances, in_order, with_spellings
from bcdseg.evaluation.results import Evaluation
from bcdseg.evaluation.results_table import Cases
from bcdseg.messages import percent
from bcdseg.table_text import html_table

FEWEST_READERS = 2
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReaderDifference:
    """The difference in one measure between two ways of reading, over readers and scans.

    Attributes:
        measure: Measure that is compared.
        first: Value of each reader in the first way, None where it is undefined.
        second: Value of each reader in the second way; for a model, its one value for each reader.
        difference: Mean of second minus first over the readers, with its interval over readers and scans.
        p: Two-sided p-value, None where the difference has no interval.
    """

    measure: Measure
    first: Mapping[str, float | None]
    second: Mapping[str, float | None]
    difference: Estimate
    p: float | None


@dataclass(frozen=True, kw_only=True, repr=False)
class ReaderComparison:
    """Comparison of two ways of reading the same scans, or of several readers and a model.

    Attributes:
        first: Name of the first way.
        second: Name of the second way, or of the model.
        readers: Names of the readers.
        differences: Difference in each measure that both ways have.
    """

    first: str
    second: str
    readers: tuple[str, ...]
    differences: Mapping[str, ReaderDifference]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the measures."""
        return iter(self.differences)

    def __getitem__(self, measure: str) -> ReaderDifference:
        """Return the difference in a measure, such as ``"dice"`` or ``"roc_auc/malignant"``."""
        if measure not in self.differences:
            raise OptionError(f"{measure!r}: no measure has this name. There are {', '.join(self.differences)}.")
        return self.differences[measure]

    def __repr__(self) -> str:
        rows = [f"  {title}: {value}" for title, value in self._rows()]
        return "\n".join([f"<{self._title()}:", *rows]) + ">"

    def _repr_html_(self) -> str:
        return html_table(self._title(), self._rows())

    def _title(self) -> str:
        return f"{self.second} minus {self.first}, mean over {len(self.readers)} readers"

    def _rows(self) -> list[tuple[str, str]]:
        shown = most_important([one.measure for one in self.differences.values()])
        return [(one.title, _sentence(self.differences[one.name])) for one in shown]


def compare_readers(
    first: Mapping[str, Evaluation],
    second: Mapping[str, Evaluation] | Evaluation,
    *,
    names: tuple[str, str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> ReaderComparison:
    """Compare two ways of reading over readers and scans, or several readers with a model (multi-reader multi-case analysis).

    Each evaluation measures one reader, or the model, against the truth; ``evaluate_predictions`` makes them from a reader's masks
    and classes. The interval covers other readers and other scans: the analysis of Obuchowski and Rockette, where the covariances
    come from a bootstrap over groups, and the degrees of freedom are those of Hillis.

    Args:
        first: Evaluation of each reader, by the reader's name.
        second: Evaluation of the same readers in another way, such as with a model's help; or one evaluation, of a model.
        names: Names of both ways for the result; by default ``first`` and ``second``, or ``readers`` and the model's name.
        draws: Number of bootstrap draws; at least 100.
        seed: Seed of the bootstrap.

    Raises:
        OptionError: There are fewer than two readers, or both ways have other readers.
        InputError: The scans, their groups, their truth or the classes differ.

    Examples:
        >>> alone = {name: bcdseg.evaluate_predictions(f"readings/{name}", test, name=name) for name in ("A", "B", "C")}
        >>> bcdseg.compare_readers(alone, bcdseg.evaluate(model, test))["dice"].difference
    """
    if draws < 100:
        raise OptionError(f"draws={draws!r}: give 100 or more; the covariances come from the draws.")
    others = dict.fromkeys(first, second) if isinstance(second, Evaluation) else dict(second)
    _check_readers(first, others)
    check_tolerances([*first.values(), *others.values()])
    spelled = next(iter(first.values()))
    first, others = ({name: with_spellings(one, spelled) for name, one in way.items()} for way in (first, others))
    reference = spelled.cases
    pairs = {name: (_aligned(name, reference, first[name]), _aligned(name, reference, others[name])) for name in first}
    by_reader = [{one.name: one for one in evaluation.measures} for evaluation in (*first.values(), *others.values())]
    shared = [one for one in next(iter(first.values())).measures if all(one.name in known for known in by_reader)]
    model = second.model if isinstance(second, Evaluation) else None
    titles = names or (("readers", model) if model is not None else ("first", "second"))
    found = {one.name: _difference(one, pairs, draws, seed) for one in shared}
    return ReaderComparison(first=titles[0], second=titles[1], readers=tuple(first), differences=found)


def over_readers(cases: Cases, parts: Mapping[str, Rows], differences: Numbers, drawn: Numbers) -> tuple[Estimate, float | None]:
    """Return the mean of the readers' differences with its interval over readers and scans, and its p-value.

    Args:
        cases: Results table of the scans.
        parts: Scans of each kind that the differences need.
        differences: Difference of each reader.
        drawn: The same in each draw of scans, as readers x draws.
    """
    bare, _ = without_interval(cases, parts, float(differences.mean()), draws=drawn.shape[1])
    if bare.value is None or bare.note:
        return bare, None
    known = drawn[:, ~np.isnan(drawn).any(axis=0)]
    undefined = 1 - known.shape[1] / drawn.shape[1]
    if undefined > FEWEST_DRAWS:
        return replace(bare, note=f"undefined in {percent(undefined)} of the draws: no interval"), None
    found = random_readers(differences, np.cov(known))
    if found is None:
        return replace(bare, note="the estimated variance over readers and scans is 0: no interval"), None
    note = f"undefined in {percent(undefined)} of the draws, which are left out" if undefined else ""
    return replace(bare, low=found.low, high=found.high, se=found.se, note=note), found.p


def _check_readers(first: Mapping[str, Evaluation], second: Mapping[str, Evaluation]) -> None:
    if len(first) < FEWEST_READERS:
        raise OptionError(f"first={list(first)!r}: give the evaluations of two or more readers, by their names.")
    if set(first) != set(second):
        odd = min(set(first) ^ set(second))
        raise OptionError(f"{odd!r}: this reader is in one of the two ways only. Give the same readers in both.")


def _aligned(reader: str, reference: Cases, evaluation: Evaluation) -> Cases:
    try:
        return in_order(matched(reference, evaluation.cases), reference.classes)
    except InputError as error:
        raise InputError(f"{reader}: {error}") from error


def _difference(measure: Measure, pairs: Mapping[str, tuple[Cases, Cases]], draws: int, seed: int) -> ReaderDifference:
    reference = next(iter(pairs.values()))[0]
    whole = once(len(reference))
    values = np.array([[measure.values(cases, whole)[0] for cases in pair] for pair in pairs.values()])
    parts = []
    for weights in resamples(reference, draws=draws, seed=seed):
        parts.append(
            np.stack([measure.values(second, weights) - measure.values(first, weights) for first, second in pairs.values()])
        )
    needs = [measure.needs(cases) for pair in pairs.values() for cases in pair]
    nowhere = np.zeros(len(reference), bool)
    both = {name: np.all([one.get(name, nowhere) for one in needs], axis=0) for name in needs[0]}
    change, p = over_readers(reference, both, values[:, 1] - values[:, 0], np.concatenate(parts, axis=1))
    first, second = (
        {name: None if np.isnan(value) else float(value) for name, value in zip(pairs, column, strict=True)} for column in values.T
    )
    return ReaderDifference(measure=measure, first=first, second=second, difference=change, p=p)


def _sentence(one: ReaderDifference) -> str:
    if one.difference.value is None:
        return f"no comparison: {one.difference.note}"
    unit = one.measure.unit
    known = ([value for value in values.values() if value is not None] for values in (one.first, one.second))
    means = [number(float(np.mean(values)), unit) for values in known]
    end = f"; no interval: {one.difference.note}" if one.p is None else f", {p_value(one.p)}"
    return f"{means[0]} and {means[1]}, difference {shown_difference(one.difference, unit)}{end}"
