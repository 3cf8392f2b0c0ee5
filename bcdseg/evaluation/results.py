"""Result of an evaluation."""

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
from bcdseg.evaluation.measures.measure import Estimate, Measure
from bcdseg.evaluation.metrics.calibration import Bin, reliability, risk_coverage
from bcdseg.evaluation.metrics.classification import confusion
from bcdseg.evaluation.metrics.weighted import once
from bcdseg.evaluation.model_comparison import Comparison, compare_evaluations, named
from bcdseg.evaluation.results_table import UNKNOWN, Cases
from bcdseg.evaluation.training_overlap import OVERLAP
from bcdseg.messages import counted
from bcdseg.table_text import html_table
from bcdseg.terminal import make_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.measures.subgroups import SubgroupAnalysis
    from bcdseg.evaluation.report.figures import GalleryItem
    from bcdseg.evaluation.robustness import Robustness


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """The measured performance of a model on a set of scans.

    Attributes:
        model: Name of the model.
        dataset: Name of the data set.
        about: Facts about the model and its training, for the report.
        cases: Results table: prediction and truth, one row per scan.
        measures: Measures, in the order of a report.
        estimates: Value, 95 % interval, number of scans and groups for each measure's name.
        training_overlap: Overlap of these scans with the model's training data: ``none``, ``unknown`` or ``allowed``.
        subgroups: Results by subgroup, None when they were not requested.
        robustness: Results on corrupted scans, None when they were not measured.
        gallery: Scans of the gallery.
        problems: Scans of the data set that could not be read and were left out.
        min_confidence: Confidence below which the model's predictions are flagged as unsure, where known.
        draws: Number of bootstrap draws.
        seed: Seed of the draws.
        prevalence: Prevalence at which the decision curve is drawn, None for that of the scans.
    """

    model: str
    dataset: str
    about: Mapping[str, Any]
    cases: Cases
    measures: tuple[Measure, ...]
    estimates: Mapping[str, Estimate]
    training_overlap: str
    subgroups: SubgroupAnalysis | None = None
    robustness: Robustness | None = None
    gallery: tuple[GalleryItem, ...] = ()
    problems: tuple[str, ...] = ()
    min_confidence: float | None = None
    draws: int = 1000
    seed: int = 0
    prevalence: float | None = None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the measures; ``name in evaluation`` works too."""
        return iter(self.estimates)

    def __getitem__(self, measure: str) -> Estimate:
        """Return the estimate of a measure, such as ``"dice"`` or ``"dice/malignant"``."""
        return named(self.estimates, measure)

    @cached_property
    def spreads(self) -> tuple[Spread, ...]:
        """Mean, median and quartiles of each segmentation measure: over all scans with a lesion, by class and by size."""
        return spreads(self.cases)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """The confusion matrix: number of scans of each true class (rows) and predicted class (columns)."""
        known = self.cases.has_class
        counts = confusion(self.cases.labels[known], self.cases.predicted[known], len(self.cases.classes), once(int(known.sum())))
        return np.asarray(counts[0], np.int64)

    @cached_property
    def reliability(self) -> tuple[Bin, ...]:
        """The reliability diagram: confidence and accuracy in ten bins."""
        return reliability(*_confidence(self.cases))

    @cached_property
    def risk_coverage(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The risk-coverage curve: coverage, the most confident scans first, and error rate of the covered scans."""
        coverage, risk = risk_coverage(*_confidence(self.cases))
        return coverage[0], risk[0]

    @property
    def counts(self) -> dict[str, int]:
        """Number of scans of each class; those of unknown class are last."""
        labels = self.cases.labels
        found = {name: int((labels == number).sum()) for number, name in enumerate(self.cases.classes)}
        unknown = int((labels == UNKNOWN).sum())
        return {**found, "unknown": unknown} if unknown else found

    @property
    def headlines(self) -> tuple[Measure, ...]:
        """The few most important measures."""
        return headlines(self.measures, self.cases.positive, distance="hd95_px")

    def section(self, name: str) -> tuple[Measure, ...]:
        """Return the measures of one section of the report: one of ``segmentation``, ``clinical``, ``calibration``, ..."""
        return tuple(measure for measure in self.measures if measure.section == name)

    def compare(self, other: Evaluation) -> Comparison:
        """Compare this model with another on the same scans by a paired bootstrap over groups; differences are this minus other.

        Each model is measured at its own operating points and thresholds. Areas under the ROC curve are also compared by DeLong's
        test. Models of different classes are compared on the classes and the scans that both have.

        Raises:
            InputError: The scans, their groups or their truth differ.
            OptionError: ``other`` is not an evaluation.
        """
        if not isinstance(other, Evaluation):
            raise OptionError(f"other={other!r} is not an evaluation. Give the result of bcdseg.evaluate for the other model.")
        return compare_evaluations(other, self)

    def save(
        self,
        folder: str | Path,
        *,
        compared_with: Sequence[Evaluation] = (),
        training_curves: Figure | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the report into a folder.

        The files are ``report.html``, ``report.md``, ``report.json``, ``cases.csv``, the figures, ``checklist.md`` (CLAIM,
        TRIPOD+AI and STARD-AI, filled in as far as known), and ``paper.md`` and ``paper.tex`` (a methods paragraph and a table of
        results).

        Args:
            folder: Folder, which is created when missing.
            compared_with: Evaluations of other models on the same scans, with which the report compares this one.
            training_curves: Figure of the model's training run, for the report.
            overwrite: Whether existing files may be replaced.

        Returns:
            The path of ``report.html``, one page that needs no other file.
        """
        from bcdseg.evaluation.report.files import save_report

        comparisons = [self.compare(other) for other in compared_with]
        return save_report(self, Path(folder), comparisons, training_curves, overwrite=overwrite)

    @property
    def _count(self) -> str:
        return f"{counted(len(self.cases), 'scan')} in {counted(len(set(self.cases.groups)), 'group')}"

    def __repr__(self) -> str:
        from bcdseg.evaluation.measures.measure import shown

        title = f"<Evaluation of {self.model} on {self.dataset}: {self._count}"
        rows = [(measure.title, shown(self.estimates[measure.name], measure.unit)) for measure in self.headlines]
        width = max((len(name) for name, _ in rows), default=0)
        warning = [] if self.training_overlap == "none" else [f"  {OVERLAP[self.training_overlap]}"]
        return "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in rows), *warning]) + ">"

    def _repr_html_(self) -> str:
        from bcdseg.evaluation.measures.measure import shown

        rows = [(measure.title, shown(self.estimates[measure.name], measure.unit)) for measure in self.headlines]
        title = f"{self.model} on {self.dataset}: {self._count}"
        return html_table(title, [*rows, *([] if self.training_overlap == "none" else [("note", OVERLAP[self.training_overlap])])])


def _confidence(cases: Cases) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return whether the predicted class is correct, and its probability, for scans whose true class is known."""
    known = cases.has_class
    return cases.predicted[known] == cases.labels[known], cases.probabilities[known].max(axis=1, initial=0.0)


Step = TypeVar("Step")
FEW = 10  # number of items up to which no progress bar is shown


def tracked(items: Iterable[Step], what: str, total: int, show: bool) -> Iterator[Step]:
    """Yield the items, with a progress bar on the terminal's error stream."""
    if not show or total <= FEW or not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=what, total=total, console=make_console(stderr=True), transient=True)
