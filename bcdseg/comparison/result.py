"""Result of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bcdseg.comparison.plan import LEAKY
from bcdseg.comparison.store import Cost, FoldResult
from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.catalogue import all_measures, headlines
from bcdseg.evaluation.measures.intervals import Difference, compare, estimate
from bcdseg.evaluation.measures.measure import Estimate, Measure
from bcdseg.evaluation.results_table import Cases, pooled


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Entry:
    """The result of one recipe over all folds of one kind.

    Attributes:
        recipe: Name of the recipe.
        kind: ``grouped`` or ``leaky``.
        folds: Result of each fold.
        cases: Results table of the test scans of all folds, each predicted by the model that was not trained on it.
        measures: Measures that were computed.
        estimates: Estimate for each measure's name.
    """

    recipe: str
    kind: str
    folds: tuple[FoldResult, ...]
    cases: Cases
    measures: tuple[Measure, ...]
    estimates: Mapping[str, Estimate]

    @property
    def cost(self) -> Cost:
        """The cost of a model of this recipe, as the mean over the folds."""
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
        """The measures of the benchmark's table."""
        return headlines(self.measures, self.cases.positive, distance="hd95_share")


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The differences between two entries on the same scans.

    Attributes:
        first: Name of the reference entry.
        second: Name of the entry that is compared with it.
        differences: Second minus first for each measure.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Benchmark:
    """The results of recipes on the same folds.

    Attributes:
        dataset: Name of the data set.
        folder: Folder of all files.
        entries: Results of the recipes on the grouped folds, in the requested order.
        leaky: Results of the recipes on random folds, if requested.
        draws: Number of bootstrap draws.
        seed: Seed of folds and draws.
    """

    dataset: str
    folder: Path
    entries: tuple[Entry, ...]
    leaky: tuple[Entry, ...] = ()
    draws: int = 1000
    seed: int = 0

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the recipes."""
        return (entry.recipe for entry in self.entries)

    def __getitem__(self, recipe: str) -> Entry:
        """Return the entry of a recipe on the grouped folds."""
        for entry in self.entries:
            if entry.recipe == recipe:
                return entry
        raise OptionError(f"{recipe!r}: is not in this benchmark; it has {', '.join(entry.recipe for entry in self.entries)}.")

    def compare(self, first: str, second: str) -> PairedDifference:
        """Compare the second recipe with the first by a paired bootstrap over groups.

        Raises:
            InputError: The recipes are for different classes, and so were evaluated on different scans.
        """
        return self._pair(self[first], self[second])

    @cached_property
    def pairs(self) -> tuple[PairedDifference, ...]:
        """Differences of each recipe from the first one for the same classes, and of each ``+mask`` form from its plain one."""
        chosen: list[tuple[Entry, Entry]] = []
        for at, entry in enumerate(self.entries):
            rivals = [one for one in self.entries[:at] if one.cases.classes == entry.cases.classes]
            bare = [one for one in self.entries if f"{one.recipe}+mask" == entry.recipe]
            chosen += [(one, entry) for one in dict.fromkeys([*rivals[:1], *bare])]
        return tuple(self._pair(first, second) for first, second in chosen)

    @cached_property
    def leaks(self) -> tuple[PairedDifference, ...]:
        """Differences of each recipe's leaky from its grouped folds on the same scans: how much a random split inflates results."""
        return tuple(self._pair(self[entry.recipe], entry) for entry in self.leaky)

    def table(self) -> str:
        """Return all results as Markdown."""
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
    """Return the name of an entry for use in a sentence."""
    return f"{entry.recipe}, random split" if entry.kind == LEAKY else entry.recipe


def gather(recipe: str, kind: str, folds: Sequence[FoldResult], *, ids: frozenset[str], draws: int, seed: int) -> Entry:
    """Pool the folds of one recipe, and compute the measures over all their scans.

    Args:
        recipe: Name of the recipe.
        kind: ``grouped`` or ``leaky``.
        folds: Results of the folds.
        ids: Ids of the scans to evaluate on.
        draws: Number of bootstrap draws.
        seed: Seed of the draws.
    """
    cases = pooled([fold.cases for fold in folds])
    cases = cases.select(np.array([one in ids for one in cases.ids]))
    measures = all_measures(cases)
    found = estimate(cases, measures, draws=draws, seed=seed)
    return Entry(recipe=recipe, kind=kind, folds=tuple(folds), cases=cases, measures=measures, estimates=found)
