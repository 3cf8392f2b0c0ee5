"""The result of an evaluation."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.catalogue import Spread, headlines, spreads
from bcdseg.evaluation.measures.intervals import Difference, compare
from bcdseg.evaluation.measures.measure import Estimate, Measure, once
from bcdseg.evaluation.metrics.calibration import Bin, reliability, risk_coverage
from bcdseg.evaluation.metrics.classification import confusion
from bcdseg.evaluation.results_table import UNKNOWN, Cases
from bcdseg.evaluation.training_overlap import SEEN
from bcdseg.terminal import make_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.gallery import GalleryItem
    from bcdseg.evaluation.robustness import Robustness

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one model differs from another on the same scans.

    Attributes:
        first: Name of the model that is compared with.
        second: Name of the model in question.
        differences: By measure: second minus first, with paired intervals.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]

    def sentence(self, measure: str) -> str:
        """Which is better in a measure, by how much, and how sure that is."""
        return _named(self.differences, measure).sentence(self.first, self.second)

    def __repr__(self) -> str:
        shown = [name for name in self.differences if "/" not in name][:12]
        return "\n".join([f"<Comparison of {self.second} with {self.first}>", *(f"  {self.sentence(name)}" for name in shown)])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """How good a model is on a set of scans.

    Attributes:
        model: Name of the model.
        dataset: Name of the data set.
        about: What is known of the model and its training, to be shown.
        cases: One row a scan: the answer beside the truth.
        measures: What was measured, in the order of a report.
        estimates: By the measures' names: value, 95 % interval, number of scans and groups.
        seen: Whether the model was trained on these scans: ``unseen``, ``unknown`` or ``allowed``.
        robustness: The figures on degraded scans, where asked for.
        gallery: Scans to look at.
        problems: Scans of the data set that were left out because they could not be read.
        min_confidence: Confidence below which the model's answers are flagged as unsure, where known.
        draws: Bootstrap draws.
        seed: Of the draws.
    """

    model: str
    dataset: str
    about: Mapping[str, Any]
    cases: Cases
    measures: tuple[Measure, ...]
    estimates: Mapping[str, Estimate]
    seen: str
    robustness: Robustness | None = None
    gallery: tuple[GalleryItem, ...] = ()
    problems: tuple[str, ...] = ()
    min_confidence: float | None = None
    draws: int = 1000
    seed: int = 0

    def __getitem__(self, measure: str) -> Estimate:
        """The estimate of a measure, such as ``"dice"`` or ``"dice/malignant"``."""
        return _named(self.estimates, measure)

    @cached_property
    def spreads(self) -> tuple[Spread, ...]:
        """Mean, median and quartiles of each measure of outlines: of all lesion scans, by class and by size."""
        return spreads(self.cases)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Scans of each true class (rows) by the class they were called (columns)."""
        known = self.cases.has_class
        counts = confusion(self.cases.labels[known], self.cases.called[known], len(self.cases.classes), once(int(known.sum())))
        return np.asarray(counts[0], np.int64)

    @cached_property
    def reliability(self) -> tuple[Bin, ...]:
        """Confidence against the share of right answers, in ten bins."""
        return reliability(*_confidence(self.cases))

    @cached_property
    def risk_coverage(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Share of the scans that is answered, the surest first, and the share of those answers that is wrong."""
        coverage, risk = risk_coverage(*_confidence(self.cases))
        return coverage[0], risk[0]

    @property
    def counts(self) -> dict[str, int]:
        """Scans of each class; those of unknown class last."""
        labels = self.cases.labels
        found = {name: int((labels == number).sum()) for number, name in enumerate(self.cases.classes)}
        unknown = int((labels == UNKNOWN).sum())
        return {**found, "unknown": unknown} if unknown else found

    @property
    def headlines(self) -> tuple[Measure, ...]:
        """The few measures to read first."""
        return headlines(self.measures, self.cases.positive, distance="hd95_px")

    def compare(self, other: Evaluation) -> Comparison:
        """This model against another on the same scans: a paired bootstrap over groups; differences are this minus the other.

        Raises:
            InputError: The scans, their groups, their truth or the classes differ.
        """
        names = {measure.name for measure in other.measures}
        shared = [measure for measure in self.measures if measure.name in names]
        found = compare(other.cases, self.cases, shared, draws=self.draws, seed=self.seed)
        return Comparison(first=other.model, second=self.model, differences=found)

    def save(
        self,
        folder: str | Path,
        *,
        compared_with: Sequence[Evaluation] = (),
        training_curves: Figure | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write ``report.html``, ``report.md``, ``report.json``, ``cases.csv`` and the figures into a folder.

        Args:
            folder: Made when missing.
            compared_with: Evaluations of other models on the same scans, to be compared with in the report.
            training_curves: A figure of the run that made the model, to be shown with it.
            overwrite: Whether files that are there may be replaced.

        Returns:
            The path of ``report.html``, one page that needs nothing else.
        """
        from bcdseg.evaluation.report.files import save_report

        comparisons = [self.compare(other) for other in compared_with]
        return save_report(self, Path(folder), comparisons, training_curves, overwrite=overwrite)

    def __repr__(self) -> str:
        from bcdseg.evaluation.report.blocks import shown

        title = f"<Evaluation of {self.model} on {self.dataset}: {len(self.cases)} scans in {len(set(self.cases.groups))} groups"
        rows = [(measure.title, shown(self.estimates[measure.name], measure.unit)) for measure in self.headlines]
        width = max((len(name) for name, _ in rows), default=0)
        warning = [] if self.seen == "unseen" else [f"  {SEEN[self.seen]}"]
        return "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in rows), *warning]) + ">"


def _confidence(cases: Cases) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of the scans whose class is known: the probability of the called class, and whether it is the true one."""
    known = cases.has_class
    return cases.probabilities[known].max(axis=1, initial=0.0), cases.called[known] == cases.labels[known]


def _named(found: Mapping[str, Item], name: str) -> Item:
    if name not in found:
        raise OptionError(f"{name!r}: no measure has this name. There are {', '.join(found)}.")
    return found[name]


Step = TypeVar("Step")
FEW = 10  # up to which none is shown


def tracked(items: Iterable[Step], what: str, total: int, show: bool) -> Iterator[Step]:
    """The items, with a bar on the terminal's error stream while they come."""
    if not show or total <= FEW or not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=what, total=total, console=make_console(stderr=True), transient=True)
