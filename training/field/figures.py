"""Figures of the field from its finished runs: means over seeds, with intervals over patients and groups of copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from plan import GROUPED, MAMMOGRAMS, OTHER_HOSPITALS, RANDOM, RunPlan
from store import Result, is_finished, load

from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import Difference, compare, estimate
from bcdseg.evaluation.measures.measure import Estimate, Measure
from bcdseg.evaluation.metrics.weighted import Values, Weights
from bcdseg.evaluation.results_table import Cases, pooled
from bcdseg.training.recipes import MASK

HELD_BACK = "held back"
ACCURACY, AUC, DICE = "accuracy", "roc_auc/malignant", "dice"
COLUMNS = {
    "random split": (RANDOM, HELD_BACK),
    "no copies across": (GROUPED, HELD_BACK),
    **{name.replace("_", "-").upper(): (RANDOM, name) for name in OTHER_HOSPITALS},
}
"""Columns of the table: the split and the tested scans. The networks of the random split are also tested at other hospitals."""


@dataclass(frozen=True)
class Finished:
    """The finished runs of one recipe on one data set.

    Attributes:
        recipe: Name of the recipe.
        data: Data set that it was trained on.
        results: Result of each run by way and seed.
    """

    recipe: str
    data: str
    results: Mapping[tuple[str, int], Result]

    def tables(self, way: str, test: str, seeds: Sequence[int] | None = None) -> dict[int, Cases]:
        """Return the results table of each finished seed, or of those among ``seeds``."""
        found = {seed: result.cases[test] for (of, seed), result in self.results.items() if of == way and test in result.cases}
        return {seed: table for seed, table in sorted(found.items()) if seeds is None or seed in seeds}


def finished(runs: Sequence[RunPlan], work: Path) -> list[Finished]:
    """Read all finished runs, by recipe in the order of the plan; the bare form of a recipe comes before that with masks."""
    found: dict[tuple[str, str], dict[tuple[str, int], Result]] = {}
    for run in runs:
        if is_finished(work, run.name):
            found.setdefault((run.recipe, run.data), {})[run.way, run.seed] = load(work, run.name)
    return [Finished(recipe, data, results) for (recipe, data), results in found.items()]


def mean_over_seeds(tables: Mapping[int, Cases], names: Sequence[str]) -> dict[str, Estimate]:
    """Return each measure as the mean of the runs; an interval draws groups, each with its scans in all runs."""
    if not tables:
        return {}
    return estimate(_joined(tables), _measures(tables, names))


def gain(bare: Finished, masked: Finished, way: str, test: str, names: Sequence[str]) -> tuple[int, dict[str, Difference]]:
    """Return the number of seeds of both forms, and form with masks minus bare form on the same scans and draws."""
    seeds = sorted(bare.tables(way, test).keys() & masked.tables(way, test).keys())
    if not seeds:
        return 0, {}
    first, second = (one.tables(way, test, seeds) for one in (bare, masked))
    shared = [name for name in names if name in {one.name for one in _measures(first, names)}]
    return len(seeds), compare(_joined(first), _joined(second), _measures(second, shared), first_measures=_measures(first, shared))


def share(tables: Mapping[int, Cases], label: str) -> float:
    """Return the fraction of scans with a label: the accuracy of predicting that label for every scan."""
    return float(np.mean([np.mean([table.label(at) == label for at in range(len(table))]) for table in tables.values()]))


def masked_form(of: Finished, among: Sequence[Finished]) -> Finished | None:
    """Return the ``+mask`` form of a recipe where it was run."""
    return next((one for one in among if (one.recipe, one.data) == (of.recipe + MASK, of.data)), None)


def columns_of(data: str) -> dict[str, tuple[str, str]]:
    """Return the columns of the table that a data set has: mammograms have no other hospital."""
    return {title: place for title, place in COLUMNS.items() if data != MAMMOGRAMS or place[1] == HELD_BACK}


def _joined(tables: Mapping[int, Cases]) -> Cases:
    """Return one table of all seeds; a scan that several of them test occurs several times, in the same group."""
    return pooled([replace(table, ids=tuple(f"{seed}|{one}" for one in table.ids)) for seed, table in tables.items()])


def _measures(tables: Mapping[int, Cases], names: Sequence[str]) -> list[Measure]:
    """Return measures of a joined table whose value is the mean of the values of its seeds."""
    ends = np.cumsum([0, *map(len, tables.values())])
    known = {one.name: one for one in all_measures(next(iter(tables.values())))}
    parts = [np.arange(start, end) for start, end in pairwise(ends)]
    return [replace(known[name], values=_mean(known[name], parts)) for name in names if name in known]


def _mean(measure: Measure, parts: Sequence[np.ndarray]) -> Callable[[Cases, Weights], Values]:
    def values(cases: Cases, weights: Weights) -> Values:
        return np.mean([measure.values(cases.select(rows), weights[:, rows]) for rows in parts], axis=0)

    return values
