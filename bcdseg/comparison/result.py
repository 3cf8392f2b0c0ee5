"""The result of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bcdseg.comparison.cost import Cost
from bcdseg.comparison.plan import LEAKY
from bcdseg.comparison.store import FoldResult
from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.catalogue import all_measures, headlines
from bcdseg.evaluation.measures.intervals import Difference, compare, estimate
from bcdseg.evaluation.measures.measure import Estimate, Measure
from bcdseg.evaluation.results_table import Cases, pooled


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Entry:
    """One recipe over all folds of one kind.

    Attributes:
        recipe: Its name.
        kind: ``grouped`` or ``leaky``.
        folds: What came out of each fold.
        cases: The test scans of all folds together, each measured by the model that had not seen it.
        measures: What was measured.
        estimates: By the measures' names.
    """

    recipe: str
    kind: str
    folds: tuple[FoldResult, ...]
    cases: Cases
    measures: tuple[Measure, ...]
    estimates: Mapping[str, Estimate]

    @property
    def cost(self) -> Cost:
        """What a model of this recipe costs: the mean over the folds."""
        costs = [fold.cost for fold in self.folds]
        return Cost(
            parameters=costs[0].parameters,
            gflops=costs[0].gflops,
            seconds_per_scan=float(np.mean([cost.seconds_per_scan for cost in costs])),
            training_minutes=float(np.mean([cost.training_minutes for cost in costs])),
            device=costs[0].device,
        )

    @property
    def headlines(self) -> tuple[Measure, ...]:
        """The measures of the table."""
        return headlines(self.measures, self.cases.positive, distance="hd95_share")


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Two entries on the same scans.

    Attributes:
        first: Name of what is compared with.
        second: Name of what is in question.
        differences: By measure: second minus first.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Benchmark:
    """Recipes on the same folds.

    Attributes:
        dataset: Name of the data set.
        folder: Where everything lies.
        entries: The recipes in the order asked for, on the grouped folds.
        leaky: The same on random folds, where asked for.
        draws: Bootstrap draws.
        seed: Of folds and draws.
    """

    dataset: str
    folder: Path
    entries: tuple[Entry, ...]
    leaky: tuple[Entry, ...] = ()
    draws: int = 1000
    seed: int = 0

    def __getitem__(self, recipe: str) -> Entry:
        """The entry of a recipe on the grouped folds."""
        for entry in self.entries:
            if entry.recipe == recipe:
                return entry
        raise OptionError(f"{recipe!r}: is not in this benchmark; it has {', '.join(entry.recipe for entry in self.entries)}.")

    def compare(self, first: str, second: str) -> PairedDifference:
        """Second against first, by a paired bootstrap over groups.

        Raises:
            InputError: The recipes are for other classes, and so were measured on other scans.
        """
        return self._pair(self[first], self[second])

    @cached_property
    def pairs(self) -> tuple[PairedDifference, ...]:
        """Each recipe against the first that is for the same classes, and each ``+mask`` form against its bare one."""
        chosen: list[tuple[Entry, Entry]] = []
        for at, entry in enumerate(self.entries):
            rivals = [one for one in self.entries[:at] if one.cases.classes == entry.cases.classes]
            bare = [one for one in self.entries if f"{one.recipe}+mask" == entry.recipe]
            chosen += [(one, entry) for one in dict.fromkeys([*rivals[:1], *bare])]
        return tuple(self._pair(first, second) for first, second in chosen)

    @cached_property
    def leaks(self) -> tuple[PairedDifference, ...]:
        """Of each recipe the leaky folds against the grouped ones, on the same scans: by how much a random split flatters."""
        return tuple(self._pair(self[entry.recipe], entry) for entry in self.leaky)

    def table(self) -> str:
        """Everything as Markdown."""
        from bcdseg.comparison.tables import markdown

        return markdown(self)

    def __repr__(self) -> str:
        names = ", ".join(entry.recipe for entry in self.entries)
        return f"<Benchmark of {names} on {self.dataset}: {len(self.entries[0].folds)} folds, in {self.folder}>"

    def _pair(self, first: Entry, second: Entry) -> PairedDifference:
        there = {measure.name for measure in second.measures}
        shared = [measure for measure in first.measures if measure.name in there]
        found = compare(first.cases, second.cases, shared, draws=self.draws, seed=self.seed)
        return PairedDifference(first=title(first), second=title(second), differences=found)


def title(entry: Entry) -> str:
    """What to call an entry in a sentence."""
    return f"{entry.recipe}, random split" if entry.kind == LEAKY else entry.recipe


def gather(recipe: str, kind: str, folds: Sequence[FoldResult], *, ids: frozenset[str], draws: int, seed: int) -> Entry:
    """Put the folds of one recipe together, and measure them.

    Args:
        recipe: Its name.
        kind: ``grouped`` or ``leaky``.
        folds: The results.
        ids: The scans to measure on.
        draws: Bootstrap draws.
        seed: Of the draws.
    """
    cases = pooled([fold.cases for fold in folds])
    cases = cases.select(np.array([one in ids for one in cases.ids]))
    measures = all_measures(cases)
    found = estimate(cases, measures, draws=draws, seed=seed)
    return Entry(recipe=recipe, kind=kind, folds=tuple(folds), cases=cases, measures=measures, estimates=found)
