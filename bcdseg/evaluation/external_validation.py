"""External validation: one model on several data sets, in one table, with heterogeneity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg import __version__
from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.grouping import same_pictures
from bcdseg.errors import DataWarning, OptionError
from bcdseg.evaluation.evaluate import check_evaluation, evaluate
from bcdseg.evaluation.measures.measure import Estimate, Measure, shown
from bcdseg.evaluation.metrics.statistics import Pooled, random_effects
from bcdseg.evaluation.options import RequestedOptions
from bcdseg.evaluation.report.files import FIGURES, check_document_free, check_report_free, save_document
from bcdseg.evaluation.results import Evaluation
from bcdseg.inference.writers import json_bytes
from bcdseg.messages import counted, warn_caller
from bcdseg.table_text import csv_text

if TYPE_CHECKING:
    from bcdseg.model.model import Model

NAME = "external"
FORMAT, VERSION = "bcdseg-external-validation", 1
INTERVAL = 3.92  # width of a 95 % interval in standard errors
FILES = tuple(f"{NAME}{end}" for end in (".html", ".md", ".csv", ".json"))
LITERAL_BAR = "\\|"
COLUMNS = ("value", "low", "high", "se", "n", "groups", "note")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExternalValidation:
    """The performance of a model on several data sets.

    Attributes:
        model: Name of the model.
        evaluations: Evaluation on each data set, by the data set's name.
    """

    model: str
    evaluations: Mapping[str, Evaluation]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the data sets."""
        return iter(self.evaluations)

    def __getitem__(self, dataset: str) -> Evaluation:
        """Return the evaluation on one data set."""
        if dataset not in self.evaluations:
            raise OptionError(f"{dataset!r} is not one of the data sets: {', '.join(self.evaluations)}.")
        return self.evaluations[dataset]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The most important measures that all data sets have, and the user's own."""
        first, *others = self.evaluations.values()
        common = set.intersection(set(first.estimates), *(set(one.estimates) for one in others))
        return tuple(one for one in (*first.headlines, *first.section("custom")) if one.name in common)

    @cached_property
    def heterogeneity(self) -> Mapping[str, Pooled]:
        """Pooled value and heterogeneity for each measure's name, where at least two data sets have an interval.

        It is a random-effects meta-analysis with the bootstrap's standard errors, see ``metrics.statistics.random_effects``.
        Where all draws are equal, as those of a rate of 0 are, the standard error is that of a normal distribution with the same
        width of the 95 % interval. The ends of intervals are clipped to the possible values.
        """
        found = {}
        for measure in self.measures:
            known = [(one.value, error) for one in self.estimates(measure.name) if one.value is not None and (error := _error(one))]
            if len(known) > 1:
                values, errors = zip(*known, strict=True)
                found[measure.name] = _clipped(random_effects(values, errors), *measure.bounds)
        return found

    def not_pooled(self, measure: str) -> tuple[str, ...]:
        """Return the names of the data sets that have no interval of a measure and are not in its pooled value."""
        pairs = zip(self.evaluations, self.estimates(measure), strict=True)
        return tuple(name for name, one in pairs if one.value is None or not _error(one))

    def estimates(self, measure: str) -> tuple[Estimate, ...]:
        """Return the estimates of one measure, in the order of the data sets."""
        return tuple(one.estimates[measure] for one in self.evaluations.values())

    def table(self) -> str:
        """Return one Markdown table: a row per measure, a column per data set, the pooled value and I²."""
        from bcdseg.evaluation.report.external import pooled_text

        rows = [["", *self.evaluations, "pooled (95 % interval)", "I²"]]
        for measure in self.measures:
            cells = [shown(one, measure.unit) for one in self.estimates(measure.name)]
            rows.append([measure.title, *cells, *pooled_text(self, measure)])
        lines = [f"| {' | '.join(cell.replace('|', LITERAL_BAR) for cell in row)} |" for row in rows]
        lines.insert(1, "|---" * len(rows[0]) + "|")
        return "\n".join(lines) + "\n"

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write ``external.html``, ``.md``, ``.csv`` and ``.json``, and the report of each data set in a folder of its name.

        Args:
            folder: Folder, which is created when missing.
            overwrite: Whether existing files may be replaced.

        Returns:
            The path of ``external.html``.
        """
        from bcdseg.evaluation.report.external import external_document

        check_external_free(Path(folder), tuple(self.evaluations), overwrite=overwrite)
        for name, evaluation in self.evaluations.items():
            evaluation.save(Path(folder) / name, overwrite=overwrite)
        data = {f"{NAME}.csv": self._csv().encode("utf-8", "backslashreplace"), f"{NAME}.json": json_bytes(self._data())}
        return save_document(external_document(self), Path(folder), NAME, texts={}, data=data, overwrite=overwrite)

    def __repr__(self) -> str:
        names = ", ".join(f"{name} ({counted(len(one.cases), 'scan')})" for name, one in self.evaluations.items())
        return f"<ExternalValidation of {self.model} on {names}>"

    def _csv(self) -> str:
        rows = [
            [name, measure.name, measure.unit, *(asdict(evaluation.estimates[measure.name])[column] for column in COLUMNS)]
            for name, evaluation in self.evaluations.items()
            for measure in self.measures
        ]
        return csv_text(["dataset", "measure", "unit", *COLUMNS], rows)

    def _data(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "format_version": VERSION,
            "library_version": __version__,
            "model": self.model,
            "datasets": [
                {
                    "name": name,
                    "scans": len(one.cases),
                    "groups": len(set(one.cases.groups)),
                    "classes": one.counts,
                    "training_overlap": one.training_overlap,
                    "measures": {measure.name: asdict(one.estimates[measure.name]) for measure in self.measures},
                }
                for name, one in self.evaluations.items()
            ],
            "heterogeneity": {
                name: {**one._asdict(), "not_pooled": list(self.not_pooled(name))} for name, one in self.heterogeneity.items()
            },
        }


def _error(one: Estimate) -> float | None:
    """Return the standard error of an estimate, from its interval where the draws don't give one; None without an interval."""
    if one.se or one.low is None or one.high is None:
        return one.se
    return (one.high - one.low) / INTERVAL


def _clipped(pooled: Pooled, least: float, most: float) -> Pooled:
    """Return a pooled value with all ends of its intervals in the range of possible values."""
    next_low, next_high = (None if end is None else min(max(end, least), most) for end in (pooled.next_low, pooled.next_high))
    return pooled._replace(low=max(pooled.low, least), high=min(pooled.high, most), next_low=next_low, next_high=next_high)


def check_external_free(folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Raise, before any work is done, when a report exists and may not be replaced."""
    check_document_free(folder, FILES, overwrite=overwrite)
    for name in names:
        check_report_free(folder / name, overwrite=overwrite)


def evaluate_external(
    model: Model,
    datasets: Sequence[Dataset] | Mapping[str, Dataset],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> ExternalValidation:
    """Evaluate a model on several data sets, such as those of other hospitals, and compare them.

    Each data set is evaluated as by ``bcdseg.evaluate``. All data sets are checked before the first scan is predicted. A
    random-effects meta-analysis over the data sets gives, for each measure, the pooled value, the interval in which the value of
    one more data set is expected, and the heterogeneity (I², tau²). Scans that are in two of the data sets are reported.

    Args:
        model: Model to evaluate.
        datasets: Two or more data sets; a mapping names them.
        out: Folder for the reports, see ``ExternalValidation.save``.
        overwrite: Whether existing reports may be replaced.
        options: Options of ``bcdseg.evaluate``, the same for all data sets: ``draws=200``.

    Raises:
        OptionError: There are fewer than two data sets, or two have the same name.
        LeakError: Scans of these data sets are in the training or validation data of the model.

    Examples:
        >>> import bcdseg
        >>> data = bcdseg.open_dataset("data/sample")
        >>> halves = {"first": data.select(data.ids[::2]), "second": data.select(data.ids[1::2])}
        >>> found = bcdseg.evaluate_external(bcdseg.load(), halves, draws=0, gallery=0)
        >>> found["first"]["dice"].n
        6
    """
    named = _named(datasets)
    if out is not None:
        check_external_free(Path(out), tuple(named), overwrite=overwrite)
    shared = {field.name for field in fields(RequestedOptions)}
    wanted = RequestedOptions(**{name: value for name, value in options.items() if name in shared})
    allowed = options.get("allow_training_samples", False)
    named = {name: check_evaluation(model, dataset, wanted, allow_training_samples=allowed)[0] for name, dataset in named.items()}
    _warn_of_shared_scans(named)
    found = ExternalValidation(
        model=model.name, evaluations={name: evaluate(model, dataset, **options) for name, dataset in named.items()}
    )
    if out is not None:
        found.save(out, overwrite=overwrite)
    return found


def _warn_of_shared_scans(datasets: Mapping[str, Dataset]) -> None:
    """Warn of data sets that have scans in common, which a meta-analysis takes for independent."""
    for (one, first), (other, second) in combinations(datasets.items(), 2):
        if pairs := list(same_pictures(first, second)):
            warn_caller(
                f"datasets: {one} and {other} share {counted(len(pairs), 'scan')}, such as {pairs[0][1].id} of {other}: the pooled "
                "value counts each twice, and its interval is too narrow.",
                DataWarning,
            )


def _named(datasets: Sequence[Dataset] | Mapping[str, Dataset]) -> dict[str, Dataset]:
    pairs = list(datasets.items()) if isinstance(datasets, Mapping) else [(getattr(one, "name", ""), one) for one in datasets]
    for name, one in pairs:
        check_data(one)
        if Path(name).name != name or not name or name.lower() in (*FILES, FIGURES):
            raise OptionError(f"datasets: {name!r} can't name a folder. Name the data sets: datasets={{'name': dataset}}.")
    named = dict(pairs)
    if len(named) < len(pairs):
        twice = next(name for name, _ in pairs if [one for one, _ in pairs].count(name) > 1)
        raise OptionError(
            f"datasets: two have the same name, {twice!r}. Name them: datasets={{'first': one, 'second': other}}; for the command "
            "line, rename one of the folders or tables."
        )
    if len(named) < 2:
        raise OptionError("datasets: give two or more data sets; bcdseg.evaluate is for one.")
    return named
