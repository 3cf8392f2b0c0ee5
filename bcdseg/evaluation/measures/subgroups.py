"""Measures by subgroup: by facts of scan, patient and machine, by class and by lesion size.

Each subgroup is compared with all other scans whose fact is known. Both are measured on the same bootstrap draws of whole groups,
so the interval of their difference is valid whether or not a patient has scans in both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.intervals import DRAWS, estimate_of, resamples
from bcdseg.evaluation.measures.measure import Estimate, Measure, Rows
from bcdseg.evaluation.measures.outlines import SIZES, of_size
from bcdseg.evaluation.metrics.weighted import Weights, once
from bcdseg.evaluation.results_table import UNKNOWN, Cases

CLASS, SIZE = "class", "size"
"""Subgroups that need no facts: the true class and the size of the lesion."""

COMPARED = (
    "dice",
    "hd95_mm",
    "lesion_sensitivity",
    "false_lesion_rate",
    "accuracy",
    "class_recall/{positive}",
    "class_specificity/{positive}",
    "roc_auc/{positive}",
    "ece",
)
"""Names of the measures by subgroup; the user's own metrics follow."""

FEW_VALUES = 6  # number of different numbers up to which each is a subgroup
MOST_SUBGROUPS = 12  # number of subgroups of a fact; further texts are one subgroup
Cuts = Sequence[float]
Subgroups = Sequence[str] | Mapping[str, Cuts | None]
"""Facts that define subgroups; a mapping gives the cut points of numbers, such as ``{"age": [50]}``, or None."""


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """The results of one subgroup.

    Attributes:
        fact: Name of the fact: ``device``.
        name: Value or range of the fact in this subgroup.
        n: Number of scans.
        groups: Number of groups of these scans.
        estimates: Estimate for each measure's name.
        differences: This subgroup minus all other scans whose fact is known, for each measure's name, with its interval.
    """

    fact: str
    name: str
    n: int
    groups: int
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class SubgroupAnalysis:
    """The results of all subgroups.

    Attributes:
        measures: Measures that were computed.
        subgroups: Results of the subgroups, fact by fact.
        unknown: Number of scans whose fact is unknown, for each fact's name.
    """

    measures: tuple[Measure, ...]
    subgroups: tuple[Subgroup, ...]
    unknown: Mapping[str, int]

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the facts."""
        return tuple(dict.fromkeys(one.fact for one in self.subgroups))

    def of(self, fact: str) -> tuple[Subgroup, ...]:
        """Return the subgroups of one fact."""
        return tuple(one for one in self.subgroups if one.fact == fact)

    def worst(self, fact: str, measure: str) -> Subgroup | None:
        """Return the subgroup with the worst value of a measure, among those with an interval; None where there are fewer than two.

        Args:
            fact: Name of the fact.
            measure: Name of a measure.
        """
        by_name = {one.name: one for one in self.measures}
        if measure not in by_name:
            raise OptionError(f"{measure!r} is not a measure of the subgroups. Choose one of {', '.join(by_name)}.")
        known = [one for one in self.of(fact) if one.estimates[measure].low is not None]
        if len(known) < 2 or by_name[measure].higher_is_better is None:
            return None
        sign = 1 if by_name[measure].higher_is_better else -1
        return min(known, key=lambda one: sign * (one.estimates[measure].value or 0.0))


def analyse_subgroups(
    cases: Cases, measures: Sequence[Measure], facts: Subgroups, *, draws: int = DRAWS, seed: int = 0
) -> SubgroupAnalysis:
    """Return the measures of each subgroup, and its differences from all other scans, with intervals.

    Args:
        cases: Results table.
        measures: All measures of the table; those of ``COMPARED`` and the user's own are computed.
        facts: Names of facts, ``"class"`` or ``"size"``; a mapping gives the cut points of numbers.
        draws: Number of bootstrap draws; 0 computes no intervals.
        seed: Seed of the bootstrap.

    Raises:
        OptionError: No scan has such a fact, or cut points were given for one that is not a number.
    """
    names = {name.format(positive=cases.positive) for name in COMPARED}
    chosen = tuple(one for one in measures if one.name in names or one.section == "custom")
    wanted = dict(facts) if isinstance(facts, Mapping) else dict.fromkeys(facts)
    found: list[Subgroup] = []
    unknown = {}
    for fact, cuts in wanted.items():
        parts = dict(divide_by(cases, fact, cuts))
        known = np.any([*parts.values()], axis=0)
        unknown[fact] = int((~known).sum())
        found += _results(cases, chosen, fact, parts, known, draws, seed)
    return SubgroupAnalysis(measures=chosen, subgroups=tuple(found), unknown=unknown)


def divide_by(cases: Cases, fact: str, cuts: Cuts | None = None) -> Iterator[tuple[str, Rows]]:
    """Yield name and scans of each subgroup of a fact; scans whose fact is unknown are in none."""
    if fact in (CLASS, SIZE):
        if cuts is not None:
            raise OptionError(f"subgroups: {fact!r} is not a number and takes no cut points.")
        yield from _of_classes(cases) if fact == CLASS else _of_sizes(cases)
        return
    values = [facts.get(fact) for facts in cases.facts]
    known = [value for value in values if value is not None]
    if not known:
        names = sorted({name for facts in cases.facts for name in facts})
        raise OptionError(f"subgroups: no scan has the fact {fact!r}. Choose from {', '.join([CLASS, SIZE, *names])}.")
    if all(isinstance(value, Real) for value in known) and (cuts is not None or len(set(known)) > FEW_VALUES):
        column = np.array([np.nan if value is None else float(value) for value in values])
        yield from _of_ranges(column, cuts)
        return
    if cuts is not None:
        raise OptionError(f"subgroups: {fact!r} is not a number for all scans and takes no cut points.")
    yield from _of_texts(["" if value is None else _text(value) for value in values])


def _of_classes(cases: Cases) -> Iterator[tuple[str, Rows]]:
    for number, name in enumerate(cases.classes):
        rows: Rows = cases.labels == number
        if rows.any():
            yield name, rows
    if not (cases.labels != UNKNOWN).any():
        raise OptionError("subgroups: the class of no scan is known.")


def _of_sizes(cases: Cases) -> Iterator[tuple[str, Rows]]:
    if not cases.lesion.any():
        raise OptionError("subgroups: no scan has a lesion whose size is known.")
    for name in SIZES:
        rows = of_size(cases, size=name)
        if rows.any():
            yield f"{name} lesion", rows


def _of_texts(values: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    column = np.array(values, dtype=object)
    counts = Counter(value for value in values if value)
    shown = [value for value, _ in counts.most_common(MOST_SUBGROUPS)]
    for value in sorted(shown, key=_order):
        yield value, np.asarray(column == value, bool)
    rest = set(counts) - set(shown)
    if rest:
        yield f"{len(rest)} other values", np.array([value in rest for value in values], bool)


def _order(value: str) -> tuple[bool, float, str]:
    """Return the key that sorts numbers by size, before other texts."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value


def _of_ranges(column: np.ndarray, cuts: Cuts | None) -> Iterator[tuple[str, Rows]]:
    known = column[~np.isnan(column)]
    edges = sorted(_terciles(known) if cuts is None else {float(cut) for cut in cuts})
    if not edges or not np.isfinite(edges).all():
        raise OptionError(f"subgroups: {list(cuts or ())!r} are not cut points. Give numbers, such as [50, 70].")
    for low, high in zip((-np.inf, *edges), (*edges, np.inf), strict=True):
        rows: Rows = (column >= low) & (column < high)
        if rows.any():
            yield _range(low, high), rows


def _terciles(known: np.ndarray) -> set[float]:
    """Return the terciles of numbers, rounded to about a hundredth of their range."""
    digits = 2 - math.floor(math.log10(np.ptp(known)))
    return {round(float(cut), digits) for cut in np.quantile(known, (1 / 3, 2 / 3))}


def _range(low: float, high: float) -> str:
    if low == -np.inf:
        return f"under {high:.12g}"
    return f"{low:.12g} or more" if high == np.inf else f"{low:.12g} to under {high:.12g}"


def _text(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _results(
    cases: Cases, measures: Sequence[Measure], fact: str, parts: Mapping[str, Rows], known: Rows, draws: int, seed: int
) -> Iterator[Subgroup]:
    pairs = {name: (_Part(cases, rows), _Part(cases, known & ~rows)) for name, rows in parts.items()}
    drawn: dict[tuple[str, str], list[Weights]] = {(name, one.name): [] for name in parts for one in measures}
    for weights in resamples(cases, draws=draws, seed=seed):
        for name, pair in pairs.items():
            for one in measures:
                drawn[name, one.name].append(np.stack([part.values(one, weights) for part in pair]))
    whole, none = once(len(cases)), np.empty((2, 0))
    for name, (inside, outside) in pairs.items():
        estimates, differences = {}, {}
        for one in measures:
            here, there = (float(part.values(one, whole)[0]) for part in (inside, outside))
            both = np.concatenate([none, *drawn[name, one.name]], axis=1)
            needs = inside.needs(one)
            others = {f"{kind} in other subgroups": rows for kind, rows in outside.needs(one).items()}
            estimates[one.name] = estimate_of(cases, needs, one.bounds, here, both[0])
            differences[one.name] = estimate_of(cases, {**needs, **others}, one.difference_bounds, here - there, both[0] - both[1])
        groups = len(np.unique(cases.group_numbers[parts[name]]))
        n = int(parts[name].sum())
        yield Subgroup(fact=fact, name=name, n=n, groups=groups, estimates=estimates, differences=differences)


class _Part:
    """A part of a results table, with the rows it consists of."""

    def __init__(self, cases: Cases, rows: Rows) -> None:
        self.table, self.rows = cases.select(rows), rows

    def values(self, measure: Measure, weights: Weights) -> Weights:
        """Return the measure of this part for each draw of the whole table."""
        if not len(self.table):
            return np.full(len(weights), np.nan)
        return measure.values(self.table, weights[:, self.rows])

    def needs(self, measure: Measure) -> dict[str, Rows]:
        """Return the scans that the measure needs, as rows of the whole table."""
        found = {}
        for kind, chosen in measure.needs(self.table).items():
            rows = np.zeros(len(self.rows), bool)
            rows[np.flatnonzero(self.rows)[chosen]] = True
            found[kind] = rows
        return found
