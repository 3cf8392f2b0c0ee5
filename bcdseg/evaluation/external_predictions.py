"""Evaluation of predictions that another program made."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unicodedata import normalize

import numpy as np

from bcdseg.data.annotations.nnunet import prediction_files
from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.labels import match_spellings, plain_label
from bcdseg.data.masks import read_mask
from bcdseg.data.readers import area_of, read_sample_scan
from bcdseg.data.tables.files import cell_text, csv_rows, read_table
from bcdseg.errors import DataWarning, InputError, OptionError
from bcdseg.evaluation.case_results import check_measurable, compare_masks, true_mask
from bcdseg.evaluation.measures.custom import MetricLike
from bcdseg.evaluation.measures.intervals import DRAWS
from bcdseg.evaluation.measures.subgroups import Subgroups
from bcdseg.evaluation.metrics.outline import TOLERANCE_MM
from bcdseg.evaluation.options import EvaluationOptions, RequestedOptions
from bcdseg.evaluation.report.figures import GalleryItem, choose
from bcdseg.evaluation.report.files import check_report_free
from bcdseg.evaluation.results import Evaluation, tracked
from bcdseg.evaluation.results_table import Case, Cases, table_of
from bcdseg.inference.writers import common_folder, fit_path, output_names
from bcdseg.messages import counted, name_some, warn_caller
from bcdseg.networks.config import no_lesion_class
from bcdseg.types import Mask, Sample

TABLES, PROBABILITY = ("predictions.csv", "predictions.parquet"), "probability_"
WRITTEN = (0, 1, 255)  # allowed pixel values of a mask
FORM: Final = "NFC"  # Unicode form in which ids are compared; macOS writes file names in another one
OFF = 0.01  # allowed difference of a sum of probabilities from 1, because files contain rounded ones


@dataclass(frozen=True, eq=False)
class ExternalPrediction:
    """A prediction of another program, or the reading of a person, for one scan.

    Attributes:
        mask: Array of the scan's size, or a file; None when no mask was predicted.
        probabilities: Probability of each class; None when no class was predicted.
    """

    mask: Mask | Path | None = None
    probabilities: Mapping[str, float] | None = None


def evaluate_predictions(
    predictions: str | Path | Mapping[str, ExternalPrediction],
    test: Dataset,
    *,
    name: str | None = None,
    no_lesion: str | None = "auto",
    subset: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
    subgroups: Subgroups = (),
    metrics: Sequence[MetricLike] = (),
    prevalence: float | Sequence[float] | None = None,
    class_order: Sequence[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    out: str | Path | None = None,
    overwrite: bool = False,
    gallery: int = 4,
    progress: bool = True,
) -> Evaluation:
    """Evaluate existing predictions.

    Args:
        predictions: A folder in the format of ``bcdseg predict DATA --out FOLDER``: masks named after the scans' ids
            (``benign/benign (1)_mask.png``) and, for classes, ``predictions.csv`` (with the engine ray ``predictions.parquet``)
            with a column ``id`` or ``source`` and one column ``probability_CLASS`` for each class, or a column ``label`` of one
            class per scan; a column ``mask`` names other mask files. Or that table alone (CSV, Excel, Parquet). Or a mapping
            from ids to ``ExternalPrediction``. Or a folder that nnU-Net predicted, for a data set in nnU-Net's format or one
            that ``Dataset.to_nnunet`` wrote.
        test: Test scans.
        name: Name of the predictions in the report; by default the folder's name.
        no_lesion: Class that means 'no lesion'; ``"auto"`` uses ``normal`` where it exists.
        subset: Whether predictions for other scans are ignored; otherwise they are an error.
        draws: Number of bootstrap draws; 0 computes no intervals.
        seed: Seed of the bootstrap; the same seed gives the same intervals.
        subgroups: Facts that define subgroups, as in ``bcdseg.evaluate``.
        metrics: Your own metrics, as in ``bcdseg.evaluate``.
        prevalence: Prevalence of the positive class in clinical use, or several.
        class_order: Classes from the lowest to the highest, for weighted kappas.
        tolerance_mm: Tolerance of the normalised surface Dice in millimetres.
        out: Folder for the report.
        overwrite: Whether an existing report may be replaced.
        gallery: Number of scans of each kind in the gallery.
        progress: Whether to show progress on a terminal.

    Raises:
        InputError: A scan has no prediction, a prediction belongs to no scan, or a mask and its scan differ in size.
    """
    check_data(test)
    if not isinstance(predictions, (str, os.PathLike, Mapping)):
        raise OptionError(
            f"predictions={predictions!r}: give a folder, a table, or a mapping from ids to ExternalPrediction; only "
            "evaluate_readers takes data sets."
        )
    if out is not None:
        check_report_free(Path(out), overwrite=overwrite)
    given = dict(predictions) if isinstance(predictions, Mapping) else read_predictions(Path(predictions), test)
    check_types(given)
    title = name or ("predictions" if isinstance(predictions, Mapping) else Path(predictions).resolve().name)
    classes = _classes(given)
    none = no_lesion_class(classes or test.classes, no_lesion)
    test = match_spellings(test, classes, title)
    check_measurable(title, classes, test)
    wanted = RequestedOptions(
        draws=draws,
        seed=seed,
        metrics=metrics,
        subgroups=subgroups,
        prevalence=prevalence,
        class_order=class_order,
        tolerance_mm=tolerance_mm,
        gallery=gallery,
    )
    chosen = wanted.checked(test, classes, has_masks=any(one.mask is not None for one in given.values()))
    check_ids(title, given, test, subset)
    if not classes and all(one.mask is None for one in given.values()):
        raise InputError(
            f"{title}: contains neither masks nor classes to compare. A table has a column probability_CLASS for each class, a "
            "column label, or a column mask."
        )
    rows = (_case(one, given[one.id], test, classes, none, chosen) for one in test)
    known = classes or test.classes
    negative = none if classes or none in known else None
    cases = table_of(tracked(rows, "Evaluating", len(test), progress), classes=known, no_lesion=negative)
    result = Evaluation(
        model=title,
        dataset=test.name,
        about={"predictions": "Made by another program; the model and its training are not known."},
        **chosen.results(cases),
        training_overlap="unknown",
        gallery=tuple(_pictures(given, test, cases, gallery, none)),
        problems=test.problems,
    )
    if out is not None:
        result.save(out, overwrite=overwrite)
    return result


def read_predictions(path: Path, test: Dataset) -> dict[str, ExternalPrediction]:
    """Read predictions from a folder or a table, and return them by the ids of their scans."""
    table = next((path / name for name in TABLES if (path / name).is_file()), path)
    if table.is_file():
        return _of_table(table, path, test)
    if not path.is_dir():
        raise InputError(f"{path}: there is no such folder or table of predictions.")
    masks = _MaskFolder(path, test)
    found = {one.id: masks.find(one.id) for one in test}
    return {name: ExternalPrediction(mask=file) for name, file in found.items() if file is not None}


def _of_table(table: Path, path: Path, test: Dataset) -> dict[str, ExternalPrediction]:
    """Read predictions from a table; ``path`` is the table, or its folder with masks."""
    ids = {normalize(FORM, key): one.id for one in test for key in (one.id, str(one.image), str(one.image.resolve()))}
    rows = _rows(table)
    masks = _MaskFolder(table.parent, test, [Path(row["source"]) for row in rows if row.get("source")])
    spellings = _spellings(table, rows, test.classes)
    given: dict[str, ExternalPrediction] = {}
    odd: list[str] = []
    for number, row in enumerate(rows, start=2):
        if row.get("error"):
            continue
        name, one = _row(row, number, table, ids, masks, spellings)
        if name in given:
            raise InputError(f"{table} row {number}: {name} occurs a second time. Keep one prediction for each scan.")
        given[name] = one
        label, known = row.get("label"), one.probabilities or {}
        odd += [name] if label and known.get(spellings[plain_label(label)], 0.0) < max(known.values(), default=0.0) else []
    if odd:
        message = f"{table}: the label of {counted(len(odd), 'scan')}, such as {odd[0]}, is not the most probable class"
        warn_caller(f"{message}, as at an operating point. The probabilities are evaluated, not the labels.", DataWarning)
    without_masks = all(one.mask is None for one in given.values())
    if path.is_dir() and without_masks and (other := next(filter(masks.may_contain, path.rglob("*_mask.png")), None)):
        raise InputError(
            f"{path}: contains masks, such as {other.relative_to(path)}, and none has the name of a scan in {table.name}. Give "
            f"them the names of the scans' ids, such as {test.ids[0]}_mask.png, or name them in a column 'mask' of the table."
        )
    return given


def _rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table, with empty texts for missing cells."""
    if table.suffix.lower() in (".parquet", ".xlsx"):
        return [{name: cell_text(cell) for name, cell in row.items()} for row in read_table(table).rows]
    return [{name: cell or "" for name, cell in row.items() if isinstance(name, str)} for row in csv_rows(table)]


def _spellings(table: Path, rows: Sequence[Mapping[str, str]], classes: Sequence[str]) -> dict[str, str]:
    """Return the spelling of each class of a table, by its plain label: that of the data set, else the first one.

    A person may name a class that none of these scans has.
    """
    columns = {column for row in rows[:1] for column in row if column.startswith(PROBABILITY)}
    labels = (label for row in rows if not row.get("error") and (label := row.get("label")))
    written = tuple(dict.fromkeys((*(column.removeprefix(PROBABILITY) for column in sorted(columns)), *labels)))
    kept: dict[str, str] = {}
    for name in (*classes, *written):
        kept.setdefault(plain_label(name), name)
    other = [f"{name!r} is {kept[plain_label(name)]!r}" for name in written if kept[plain_label(name)] != name]
    if other:
        warn_caller(f"{table}: spellings of one class: {'; '.join(other)}.", DataWarning)
    return kept


class _MaskFolder:
    """The folder of predicted masks. It may be that of the data set: ground truth and scans are not predictions."""

    def __init__(self, folder: Path, test: Dataset, sources: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._written = output_names(sources) if sources else {}
        above = common_folder(sources).parts[1:] if sources else ()  # predict counts names from the folder that it was given
        self._prefixes = ["", *("/".join(above[-depth:]) + "/" for depth in range(1, len(above) + 1))]
        files = [path for one in test for path in (one.image, *one.masks)]
        self._own = {path.resolve() for path in files if isinstance(path, Path)}

    def may_contain(self, file: Path) -> bool:
        """Return whether a file can be a predicted mask, as it is neither ground truth nor a scan."""
        return file.resolve() not in self._own

    def find(self, name: str, source: str | None = None) -> Path | None:
        """Return the mask of a scan: one named as ``bcdseg predict`` or nnU-Net names it, or one named like the scan."""
        stem = Path(name).with_suffix("").as_posix()
        names = [f"{name}_mask.png", f"{stem}_mask.png", f"{fit_path(name)}_mask.png", f"{fit_path(stem)}_mask.png", name]
        names += prediction_files(name)
        if source:
            names += [f"{prefix}{self._written[str(Path(source))]}_mask.png" for prefix in self._prefixes]
        forms = (one for name in names for one in dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name))))
        files = (self._folder / one for one in forms)
        return next((file for file in files if os.path.isfile(file) and self.may_contain(file)), None)  # noqa: PTH113 - Path.is_file raises

    def named(self, cell: str) -> Path:
        """Return the mask that a table names."""
        file = self._folder / cell
        if not self.may_contain(file):
            raise InputError(f"{file}: is the ground truth or the image of a scan, and not a prediction. Name the predicted mask.")
        return file


def _row(
    row: Mapping[str, str], number: int, table: Path, ids: Mapping[str, str], masks: _MaskFolder, spellings: Mapping[str, str]
) -> tuple[str, ExternalPrediction]:
    """Return the id and the prediction of a row."""
    key = row.get("id") or row.get("source") or ""
    if not key:
        raise InputError(f"{table} row {number}: no scan is named. Add a column 'id' or 'source'.")
    name = ids.get(normalize(FORM, key)) or ids.get(normalize(FORM, str(Path(key).resolve()))) or key
    cells = {column.removeprefix(PROBABILITY): cell for column, cell in row.items() if column.startswith(PROBABILITY)}
    try:
        probabilities = {spellings[plain_label(one)]: float(cell) for one, cell in cells.items()} or None
    except (ValueError, TypeError):
        raise InputError(f"{table} row {number}: {key}: a probability is not a number: {cells}.") from None
    if probabilities is None and (label := row.get("label")):  # a person names one class, and no probabilities
        probabilities = {one: float(one == spellings[plain_label(label)]) for one in spellings.values()}
    mask = masks.named(row["mask"]) if row.get("mask") else masks.find(name, row.get("source"))
    return name, ExternalPrediction(mask, probabilities)


def check_types(given: Mapping[str, Any]) -> None:
    """Raise where a mapping contains something else than predictions, such as masks alone."""
    for name, one in given.items():
        if not isinstance(one, ExternalPrediction):
            raise OptionError(
                f"predictions[{name!r}] is of type {type(one).__name__}: give an ExternalPrediction, such as "
                "ExternalPrediction(mask=mask)."
            )


def _classes(given: Mapping[str, ExternalPrediction]) -> tuple[str, ...]:
    """Return the classes of the predictions, which must be the same for all."""
    first: tuple[str, ...] | None = None
    for name, one in given.items():
        classes = tuple(one.probabilities or ())
        if first is not None and set(classes) != set(first):
            raise InputError(
                f"{name}: its probabilities are of {', '.join(classes) or 'no class'}; others have {', '.join(first) or 'none'}."
            )
        first = first if first is not None else classes
        check_probabilities(name, one)
    return first or ()


def check_probabilities(name: str, given: ExternalPrediction) -> None:
    """Raise for probabilities that are negative, not finite, or don't add up to 1."""
    values = list((given.probabilities or {}).values())
    if values and not (all(math.isfinite(value) and value >= 0 for value in values) and abs(sum(values) - 1) <= OFF):
        raise InputError(f"{name}: {values} are not probabilities: none may be negative, and their sum must be 1.")


def check_ids(title: str, given: Mapping[str, ExternalPrediction], test: Dataset, subset: bool) -> None:
    """Raise when a scan has no prediction, a prediction belongs to no scan, or some predictions have masks and others have none."""
    missing = [name for name in test.ids if name not in given]
    extra = [] if subset else [name for name in given if name not in test]
    masks = [name for name in test.ids if name in given and given[name].mask is None]
    if masks and len(masks) < len(test) - len(missing):
        raise InputError(
            f"{title}: has no mask for {name_some(masks)}, but for others. Write an empty mask where nothing is outlined."
        )
    faults = [f"has no prediction for {name_some(missing)}"] * bool(missing)
    faults += [f"has predictions for {name_some(extra)}, not among these scans (subset=True leaves them out)"] * bool(extra)
    if faults:
        raise InputError(f"{title}: {'; and '.join(faults)}. Ids are paths such as {test.ids[0]!r}.")


def _case(
    sample: Sample,
    given: ExternalPrediction,
    test: Dataset,
    classes: tuple[str, ...],
    no_lesion: str | None,
    options: EvaluationOptions,
) -> Case:
    scan = read_sample_scan(sample.image)
    height, width = scan.pixels.shape[:2]
    truth = true_mask(sample, (height, width), no_lesion, resize=test.resize_masks)
    mask = predicted_mask(given, (height, width), sample.id)
    spacing = sample.spacing or area_of(scan, mask).spacing
    probabilities = None if given.probabilities is None else [given.probabilities[name] for name in classes]
    return Case(
        id=sample.id,
        group=sample.group,
        label=sample.label,
        probabilities=None if probabilities is None else [one / sum(probabilities) for one in probabilities],
        size=(height, width),
        facts=sample.facts,
        **compare_masks(sample, truth, mask, spacing, options.metrics, options.tolerance_mm),
    )


def predicted_mask(given: ExternalPrediction, size: tuple[int, int], name: str) -> Mask | None:
    """Return the mask of a prediction, from its array or its file; None where none was predicted."""
    if given.mask is None or isinstance(given.mask, Path):
        return None if given.mask is None else read_mask([given.mask], size)
    mask = np.asarray(given.mask)
    if not np.isin(mask, WRITTEN).all():
        raise InputError(f"{name}: its mask contains other values than 0 and 1, or 255. Apply a threshold to probabilities first.")
    return mask.astype(bool)


def _pictures(
    given: Mapping[str, ExternalPrediction], test: Dataset, cases: Cases, count: int, no_lesion: str | None
) -> Iterator[GalleryItem]:
    for kind, row in choose(cases, count):
        sample = test.samples[row]
        image = read_sample_scan(sample.image).pixels
        size = (image.shape[0], image.shape[1])
        truth = true_mask(sample, size, no_lesion, resize=test.resize_masks)
        yield GalleryItem(sample.id, kind, row, image, truth, predicted_mask(given[sample.id], size, sample.id))
