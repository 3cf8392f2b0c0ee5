"""Agreement of several readers with each other and with a model, without any truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.hashing import NEAR, content_hash, differing_bits, fingerprint
from bcdseg.data.labels import plain_label
from bcdseg.data.readers import read_sample_scan
from bcdseg.errors import DataWarning, InputError, OptionError
from bcdseg.evaluation.external_predictions import (
    ExternalPrediction,
    check_ids,
    check_probabilities,
    check_types,
    predicted_mask,
    read_predictions,
)
from bcdseg.evaluation.measures.intervals import DRAWS, estimate_of, resamples
from bcdseg.evaluation.measures.measure import Estimate, Rows, shown, shown_difference
from bcdseg.evaluation.metrics.weighted import Values, once
from bcdseg.evaluation.readers.agreement import (
    EVERY_PAIR,
    OTHERS,
    Labels,
    Pairing,
    Statistic,
    dice_statistics,
    kappa_statistics,
    pairings,
)
from bcdseg.evaluation.readers.difference import FEWEST_READERS, over_readers
from bcdseg.evaluation.results import tracked
from bcdseg.evaluation.results_table import Case, Cases, table_of
from bcdseg.messages import counted, name_some, warn_caller
from bcdseg.networks.config import no_lesion_class
from bcdseg.types import Mask, Sample

Readings = str | PathLike[str] | Mapping[str, ExternalPrediction] | Dataset
Given = Mapping[str, ExternalPrediction]
DICE, KAPPA = "dice", "kappa"
TITLES = {DICE: "Dice", KAPPA: "kappa"}
UNITS = {DICE: "fraction", KAPPA: "score"}
BOUNDS = {DICE: (0.0, 1.0), KAPPA: (-1.0, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The agreement of two readers, of a reader and a consensus, or of all readers.

    Attributes:
        measure: ``dice`` (mean over the scans, 1 where both outline nothing) or ``kappa`` (Cohen's; Fleiss' for all readers).
        first: Name of a reader or of the model; ``all readers`` for all of them.
        second: Name of the other, or of the consensus; empty for all readers.
        estimate: Value with its interval over groups of scans.
    """

    measure: str
    first: str
    second: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True, repr=False)
class ReaderStudy:
    """The agreement of several readers of the same scans, and of a model with them.

    Attributes:
        dataset: Name of the data set.
        readers: Names of the readers.
        model: Name of the model, or None.
        scans: Number of scans.
        agreements: Agreement of each pair, of all readers, of each reader with the consensus of the others, and of the model with
            each reader and with the consensus.
        differences: For each measure, the agreement of the model with the consensus of all readers but one, minus that of the one
            left out, as the mean over the readers, with its interval over readers and scans. Empty without a model.
    """

    dataset: str
    readers: tuple[str, ...]
    model: str | None
    scans: int
    agreements: tuple[Agreement, ...]
    differences: Mapping[str, Estimate]

    def agreement(self, measure: str, first: str = EVERY_PAIR, second: str = "") -> Estimate:
        """Return one agreement, such as ``agreement("dice", "A", "B")``; without names that of all readers."""
        for one in self.agreements:
            if one.measure == measure and (one.first, one.second) in ((first, second), (second, first)):
                return one.estimate
        raise OptionError(f"{measure!r} of {first!r} and {second!r} is not in this study of {', '.join(self.readers)}.")

    def table(self) -> str:
        """Return all results as Markdown."""
        measures = list(dict.fromkeys(one.measure for one in self.agreements))
        rows: dict[tuple[str, str], dict[str, str]] = {}
        for one in self.agreements:
            rows.setdefault((one.first, one.second), {})[one.measure] = shown(one.estimate, UNITS[one.measure])
        lines = [f"| | {' | '.join(TITLES[name] for name in measures)} |", "|---" * (len(measures) + 1) + "|"]
        for (first, second), values in rows.items():
            title = f"{first} and {second}" if second else first
            lines.append(f"| {title} | {' | '.join(values.get(name, '') for name in measures)} |")
        for name, found in self.differences.items():
            change = shown_difference(found, UNITS[name])
            lines += ["", f"{self.model} minus readers, each against the {OTHERS}: {TITLES[name]} {change}."]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in JSON types."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"<ReaderStudy of {', '.join(self.readers)} on {self.dataset}: {counted(self.scans, 'scan')}>\n{self.table()}"


def evaluate_readers(
    readings: Mapping[str, Readings],
    scans: Dataset,
    *,
    model: Readings | None = None,
    model_name: str = "model",
    draws: int = DRAWS,
    seed: int = 0,
    progress: bool = True,
) -> ReaderStudy:
    """Measure how well several readers of the same scans agree, and a model with them; no ground truth is needed.

    Masks are compared by Dice, classes by Cohen's kappa for two and Fleiss' kappa for all readers. The consensus of masks is the
    majority of each pixel, that of classes the most frequent one; a scan without a single most frequent class is left out of
    kappas with the consensus. A reader is compared with the consensus of the others, because a consensus that contains the reader
    agrees too well.

    Args:
        readings: Outlines and classes of each reader, by the reader's name: a folder or table as for ``evaluate_predictions`` (a
            table may have a column ``label`` in place of probabilities), a mapping from ids to predictions, or a data set, such as
            the reviews of one reader that the page saved. Its scans are found by their pixels, or where the files were saved
            again with loss by their ids. What it has of other scans is left out, with a warning.
        scans: Scans that were read, each by every reader.
        model: Predictions of a model for the same scans, in any of these forms.
        model_name: Name of the model in the results.
        draws: Number of bootstrap draws over groups.
        seed: Seed of the bootstrap.
        progress: Whether to show progress on a terminal.

    Raises:
        OptionError: There are fewer than two readers, or a reader has the model's name.
        InputError: A reader has no reading of a scan, or several; the scan of an id is another one in a reader's data set; or a
            mask and its scan differ in size.

    Examples:
        >>> study = bcdseg.evaluate_readers({"A": "readings/A", "B": "readings/B", "C": "readings/C"}, scans, model="predictions")
        >>> print(study.table())
    """
    check_data(scans)
    names = tuple(readings)
    if len(names) < FEWEST_READERS:
        raise OptionError(f"readings={list(names)!r}: give the readings of two or more readers, by their names.")
    if model is not None and model_name in names:
        raise OptionError(f"model_name={model_name!r}: is the name of a reader too. Choose another one.")
    given = {name: _read(name, one, scans) for name, one in {**readings, **({} if model is None else {model_name: model})}.items()}
    kinds = _shared_kinds(given)
    pairs = pairings(names, None if model is None else model_name)
    found: dict[str, dict[Pairing, Statistic]] = {}
    if kinds[DICE]:
        found[DICE] = dice_statistics(pairs, tracked(_masks(given, scans), "Comparing", len(scans), progress))
    if kinds[KAPPA]:
        labels, classes = _labels(given, scans)
        found[KAPPA] = kappa_statistics(pairs, names, labels, classes)
    drawn = _Drawn(table_of((Case(id=one.id, group=one.group) for one in scans), classes=()), draws, seed)
    return ReaderStudy(
        dataset=scans.name,
        readers=names,
        model=None if model is None else model_name,
        scans=len(scans),
        agreements=tuple(
            Agreement(measure=measure, first=pair.first, second=pair.second, estimate=drawn.estimate(statistic, BOUNDS[measure]))
            for measure, statistics in found.items()
            for pair, statistic in statistics.items()
            if pair.without is None
        ),
        differences={} if model is None else {name: drawn.difference(statistics, names) for name, statistics in found.items()},
    )


@dataclass(frozen=True)
class _Drawn:
    """The bootstrap over groups of the scans."""

    frame: Cases
    draws: int
    seed: int

    @property
    def _scans(self) -> dict[str, Rows]:
        return {"scans": np.ones(len(self.frame), bool)}

    def estimate(self, statistic: Statistic, bounds: tuple[float, float]) -> Estimate:
        value, drawn = self._values(statistic)
        return estimate_of(self.frame, self._scans, bounds, value, drawn)

    def difference(self, statistics: Mapping[Pairing, Statistic], readers: Sequence[str]) -> Estimate:
        """Return the mean over the readers of the model's agreement with the consensus of the others, minus the reader's own."""
        models = {pair.without: one for pair, one in statistics.items() if pair.without is not None}
        own = {pair.first: one for pair, one in statistics.items() if pair.second == OTHERS and pair.without is None}
        both = [(self._values(models[name]), self._values(own[name])) for name in readers]
        changes = np.array([of_model[0] - of_reader[0] for of_model, of_reader in both])
        drawn = np.stack([of_model[1] - of_reader[1] for of_model, of_reader in both])
        return over_readers(self.frame, self._scans, changes, drawn)[0]

    def _values(self, statistic: Statistic) -> tuple[float, Values]:
        drawn = [statistic(weights) for weights in resamples(self.frame, draws=self.draws, seed=self.seed)]
        return float(statistic(once(len(self.frame)))[0]), np.concatenate([np.empty(0), *drawn])


def _read(name: str, readings: Readings, scans: Dataset) -> Given:
    if isinstance(readings, Dataset):
        given = _of_dataset(name, readings, scans)
    else:
        given = dict(readings) if isinstance(readings, Mapping) else read_predictions(Path(readings), scans)
    check_types(given)
    check_ids(name, given, scans, subset=False)
    for scan, one in given.items():
        check_probabilities(f"{name}: {scan}", one)
    return given


def _of_dataset(name: str, readings: Dataset, scans: Dataset) -> dict[str, ExternalPrediction]:
    """Return what a data set states about each scan; a scan of its negative class that has no mask file has an empty mask."""
    by_pixels: dict[str, list[Sample]] = {}
    for one in readings:
        by_pixels.setdefault(content_hash(one.image), []).append(one)
    has_masks, negative = any(one.masks for one in readings), no_lesion_class(readings.classes, "auto")
    found, used = {}, set()
    for scan in scans:
        reading = _reading_of(scan, name, readings, by_pixels)
        if reading is None:
            continue
        used.add(reading.id)
        pixels, mask = readings.read(reading)
        if mask is None and has_masks and reading.label is not None and reading.label == negative:
            mask = np.zeros(pixels.shape[:2], bool)
        found[scan.id] = ExternalPrediction(mask, None if reading.label is None else {reading.label: 1.0})
    if found and (other := [one for one in readings.ids if one not in used]):
        warn_caller(f"{name}: {name_some(other)} of its data set is not among these scans, and left out.", DataWarning)
    return found


def _reading_of(scan: Sample, name: str, readings: Dataset, by_pixels: Mapping[str, Sequence[Sample]]) -> Sample | None:
    """Return the sample of a reader's data set that is of a scan: one of the same pixels, else the same scan with the same id."""
    same = by_pixels.get(content_hash(scan.image), [])
    if len(same) > 1:
        same = [one for one in same if one.id == scan.id] or same
    if len(same) > 1:
        ids = " and ".join(repr(one.id) for one in same[:2])
        raise InputError(f"{name}: {ids} are readings of one scan, {scan.id!r}. Keep one: filter the data set by reader.")
    if same or scan.id not in readings:
        return same[0] if same else None
    if differing_bits([fingerprint(scan.image)], [fingerprint(readings[scan.id].image)])[0] > NEAR:
        raise InputError(
            f"{name}: the image of {scan.id!r} in its data set is not that scan: the pixels differ. Give one id to one scan only."
        )
    return readings[scan.id]


def _shared_kinds(given: Mapping[str, Given]) -> dict[str, bool]:
    """Return whether there are masks and classes; either all have them or none."""
    found = {}
    for kind, what in ((DICE, "masks"), (KAPPA, "classes")):
        having = [
            name
            for name, readings in given.items()
            if all((one.mask if kind == DICE else one.probabilities) is not None for one in readings.values())
        ]
        if having and len(having) < len(given):
            lacking = next(name for name in given if name not in having)
            raise InputError(
                f"{lacking}: has no {what}, and {having[0]} has. Give {what} of all readers and the model, or of none."
            )
        found[kind] = bool(having)
    if not any(found.values()):
        raise InputError(f"{', '.join(given)}: there are neither masks nor classes to compare.")
    return found


def _masks(given: Mapping[str, Given], scans: Dataset) -> Iterator[dict[str, Mask]]:
    for sample in scans:
        height, width = read_sample_scan(sample.image).pixels.shape[:2]
        masks = {name: predicted_mask(readings[sample.id], (height, width), sample.id) for name, readings in given.items()}
        yield {name: mask for name, mask in masks.items() if mask is not None}


def _labels(given: Mapping[str, Given], scans: Dataset) -> tuple[dict[str, Labels], int]:
    """Return the index of each scan's most probable class, by reader, and the number of classes that anyone names."""
    chosen = {
        name: [plain_label(max((one := readings[scan].probabilities or {}), key=lambda label: one[label])) for scan in scans.ids]
        for name, readings in given.items()
    }
    classes = sorted({label for labels in chosen.values() for label in labels})
    return {name: np.array([classes.index(label) for label in labels], np.int64) for name, labels in chosen.items()}, len(classes)
