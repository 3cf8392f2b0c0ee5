"""Cross-validation of one recipe: ``bcdseg.cross_validate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bcdseg.comparison.benchmark import benchmark
from bcdseg.comparison.plan import FoldPairs
from bcdseg.comparison.result import Entry
from bcdseg.data.dataset import Dataset
from bcdseg.data.splits import load_folds
from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.intervals import estimate
from bcdseg.evaluation.measures.measure import Estimate, shown
from bcdseg.evaluation.results_table import Cases
from bcdseg.files import write_whole
from bcdseg.table_text import html_table
from bcdseg.training.recipes import Recipe

TABLE = "cross-validation.md"
HEADER = ("measure", "pooled (95 % interval)", "mean over folds", "SD over folds")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CrossValidation:
    """The result of a cross-validation.

    Attributes:
        dataset: Name of the data set.
        folder: Folder of all files, with the model of each fold.
        entry: Result of the recipe: measures, results of the folds and cost.
    """

    dataset: str
    folder: Path
    entry: Entry

    @property
    def cases(self) -> Cases:
        """Results table of all scans, each predicted by the one model that was not trained on it."""
        return self.entry.cases

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """Each measure over all scans together, with its interval over groups, by its name."""
        return self.entry.estimates

    @cached_property
    def by_fold(self) -> dict[str, tuple[float | None, ...]]:
        """Each measure on the test scans of each fold, by its name; None where a fold has no such scans."""
        folds = [estimate(fold.cases, self.entry.measures, draws=0) for fold in self.entry.folds]
        return {measure.name: tuple(fold[measure.name].value for fold in folds) for measure in self.entry.measures}

    def mean(self, measure: str) -> float | None:
        """Return the mean of a measure over the folds, or None if no fold has a value."""
        values = self._values(measure)
        return float(np.mean(values)) if values else None

    def sd(self, measure: str) -> float | None:
        """Return the standard deviation of a measure over the folds (n - 1), or None if fewer than two folds have a value."""
        values = self._values(measure)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def table(self) -> str:
        """Return the most important measures as Markdown."""
        rows = [HEADER, tuple("-" * 3 for _ in HEADER), *self._rows()]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"

    def __repr__(self) -> str:
        return f"<CrossValidation of {self.entry.recipe} on {self.dataset}: {len(self.entry.folds)} folds, in {self.folder}>"

    def _repr_html_(self) -> str:
        return html_table(repr(self).strip("<>"), self._rows(), HEADER)

    def _values(self, measure: str) -> list[float]:
        if measure not in self.by_fold:
            raise OptionError(f"{measure!r}: is not a measure of this cross-validation; it has {', '.join(self.by_fold)}.")
        return [value for value in self.by_fold[measure] if value is not None]

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                measure.title,
                shown(self.estimates[measure.name], measure.unit),
                shown(Estimate(value=self.mean(measure.name)), measure.unit),
                shown(Estimate(value=self.sd(measure.name)), measure.unit),
            )
            for measure in self.entry.headlines
        ]


def cross_validate(
    recipe: str | Recipe,
    data: Dataset,
    folds: int | str | FoldPairs = 5,
    *,
    out: str | PathLike[str] = "cross-validation",
    seed: int = 0,
    val: float = 0.15,
    size: int | None = None,
    from_scratch: bool = False,
    draws: int = 1000,
    duplicates: Sequence[Sequence[str]] | None = None,
    **options: Any,
) -> CrossValidation:
    """Train a recipe on each part of the folds, and evaluate the predictions of the scans that were left out.

    Each scan is predicted by the one model that was not trained on it. The measures are computed over all scans together, with
    intervals over groups, and on each fold. A stopped cross-validation resumes when it is called again with the same folder.

    Args:
        recipe: Name of a recipe, or a recipe.
        data: Scans.
        folds: Number of folds; the name of frozen folds of a public data set, such as ``"busi-v1"``; or a list of (train, test).
        out: Folder for ``cross-validation.md`` and the files of a benchmark; ``RECIPE/`` contains ``cases.csv`` and the model of
            each fold.
        seed: Seed of the folds, the training and the bootstrap.
        val: Fraction of each training part on which the epoch is chosen and the model is calibrated.
        size: Height and width to which scans are resized; by default the recipe's.
        from_scratch: Whether a recipe that would download ImageNet weights starts from random ones.
        draws: Number of bootstrap draws; 0 computes no intervals.
        duplicates: Groups of ids that show the same scan; None searches for them.
        options: Fields of ``FitConfig`` that replace the recipe's own: ``epochs=20``.

    Raises:
        OptionError: An option or the recipe is unknown, or the data have too few groups for the folds.
        OutputExistsError: The folder contains a cross-validation of other folds or data.

    Example:
        >>> result = cross_validate("default", data, folds=5, epochs=20)
        >>> result.estimates["dice"].value, result.mean("dice"), result.sd("dice")
    """
    pairs = load_folds(folds, data) if isinstance(folds, str) else folds
    found = benchmark(
        data,
        [recipe],
        folds=pairs,
        out=out,
        seed=seed,
        val=val,
        size=size,
        from_scratch=from_scratch,
        draws=draws,
        duplicates=duplicates,
        **options,
    )
    result = CrossValidation(dataset=data.name, folder=found.folder, entry=found.entries[0])
    write_whole(result.folder / TABLE, result.table().encode(), overwrite=True)
    return result
