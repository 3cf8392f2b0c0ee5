"""Splits and folds that keep patients and copies of a scan together, and split files."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.grouping import assign_groups, check_same_data, count_features, merged_groups, number_groups
from bcdseg.data.hashing import content_hash
from bcdseg.data.layouts.listing import PARTS as PART_OF
from bcdseg.data.public_sets.frozen_folds import FILES as FROZEN
from bcdseg.data.public_sets.frozen_folds import frozen_folds
from bcdseg.errors import DatasetError, LeakWarning, OptionError
from bcdseg.files import write_whole
from bcdseg.messages import check_whole, name_some
from bcdseg.table_text import html_table

FORMAT = "bcdseg split"
VERSION = 1
PARTS = ("train", "val", "test")
ROW = {"id", "part", "group", "hash"}


def load_split(path: str | PathLike[str], dataset: Dataset, *, fold: int | None = None, on_problem: str = "error") -> Split:
    """Load a split that ``Split.save`` wrote, or one of the frozen folds of a public data set.

    Labels and masks may have been corrected since the file was written; the scans must be unchanged. Frozen folds come with the
    package, see ``load_folds``: the test part is a fold, the val part is the next one, and the train part is the others.

    Args:
        path: The file, or ``"busi-v1"``, ``"bus-bra-v1"`` or ``"bus-uclm-v1"``.
        dataset: The data set from which the split was made.
        fold: Number of the test fold, for frozen folds only; by default 0.
        on_problem: ``"skip"`` uses the scans that both have, with a warning, for frozen folds only.

    Raises:
        DatasetError: The file is not a split, or the data set's scans differ from the split's; the message names those that were
            added, removed and changed.
        OptionError: There is no such fold, or a file has no folds to choose from.
    """
    if str(path) in FROZEN:
        return _frozen_split(str(path), dataset, fold or 0, on_problem)
    if fold is not None or on_problem != "error":
        raise OptionError(f"fold and on_problem are for frozen folds ({', '.join(FROZEN)}); {path} is a split. Leave them out.")
    content = _content(Path(path))
    rows = {row["id"]: row for row in content["samples"]}
    changes = {
        "added": [one for one in dataset.ids if one not in rows],
        "removed": [one for one in rows if one not in dataset],
        "changed": [one.id for one in dataset if one.id in rows and content_hash(one.image) != rows[one.id]["hash"]],
    }
    if any(changes.values()):
        named = "; ".join(_named(what, ids) for what, ids in changes.items() if ids)
        raise DatasetError(
            f"{path}: was made of other data than {dataset.name}: {named}. "
            "Open the data of that split (with the same audit applied), or make a new split."
        )
    samples = {one.id: replace(one, group=rows[one.id]["group"]) for one in dataset}
    train, val, test = (
        replace(dataset, samples=tuple(samples[one] for one, row in rows.items() if row["part"] == name)) for name in PARTS
    )
    return Split(train, val, test, content["seed"], tuple(content["fractions"]))


def load_folds(name: str, dataset: Dataset, *, on_problem: str = "error") -> list[tuple[Dataset, Dataset]]:
    """Load the frozen folds of a public data set as a list of (train, test), so that results of different authors can be compared.

    Patients and copies of a scan are in one fold. Scans are found by their pixels, so the files may have other names. A scan that
    has a copy with another label has the fact ``label_conflict``.

    Args:
        name: ``"busi-v1"``, ``"bus-bra-v1"`` or ``"bus-uclm-v1"``.
        dataset: The data set; copies of other pixels, such as a rescaled one, are recognised too.
        on_problem: ``"error"`` raises an error if the scans are not the same; ``"skip"`` uses those that both have, with a warning.

    Raises:
        DatasetError: Scans are missing, or not in the list of folds; the message names them.
        OptionError: There are no such folds.
    """
    tests = frozen_folds(name, dataset, on_problem)
    return [_fold(_all_but(tests, [number]), test) for number, test in enumerate(tests)]


def _frozen_split(name: str, dataset: Dataset, fold: int, on_problem: str) -> Split:
    tests = frozen_folds(name, dataset, on_problem)
    if not 0 <= fold < len(tests):
        raise OptionError(f"fold={fold}: {name} has the folds 0 to {len(tests) - 1}.")
    following = (fold + 1) % len(tests)
    fractions = ((len(tests) - 2) / len(tests), 1 / len(tests), 1 / len(tests))
    return Split(_all_but(tests, [fold, following]), tests[following], tests[fold], 0, fractions)


def _all_but(parts: Sequence[Dataset], left_out: Sequence[int]) -> Dataset:
    """Return the samples of all parts but some."""
    kept = [sample for number, part in enumerate(parts) if number not in left_out for sample in part]
    return replace(parts[0], samples=tuple(kept))


def write(split: Split, path: str | PathLike[str], overwrite: bool) -> None:
    """Write a split atomically."""
    write_whole(Path(path), content_of(split), overwrite=overwrite, durable=True)


def content_of(split: Split) -> bytes:
    """Return the content of a split's file."""
    rows = [
        {"id": sample.id, "part": name, "group": sample.group, "hash": content_hash(sample.image)}
        for name, part in zip(PARTS, split, strict=True)
        for sample in part
    ]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": split.train.name,
        "seed": split.seed,
        "fractions": split.fractions,
        "samples": rows,
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode()


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such split file.") from None
    except OSError as error:
        raise DatasetError(f"{path}: can't be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is not a split file ({error}).") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DatasetError(f"{path}: is not a split file.")
    if content.get("version") != VERSION:
        raise DatasetError(f"{path}: has format version {content.get('version')}; this release reads version {VERSION}.")
    rows, fractions = content.get("samples"), content.get("fractions")
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise DatasetError(f"{path}: the split file is damaged: its samples are not as they were written.")
    are_fractions = isinstance(fractions, list) and [type(one) in (int, float) for one in fractions] == [True] * len(PARTS)
    if type(content.get("seed")) is not int or not are_fractions:
        raise DatasetError(f"{path}: the split file is damaged: its seed or its fractions are not as they were written.")
    _check_rows(path, rows)
    return content


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or row.keys() != ROW:
        return False
    return isinstance(row["id"], str) and isinstance(row["hash"], str) and isinstance(row["group"], (str, type(None)))


def _check_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replace other spellings of the parts, and raise an error for an unknown part or an id that is repeated."""
    for row in rows:
        part = PART_OF.get(str(row["part"]).lower())
        if part is None:
            raise DatasetError(f"{path}: {row['id']} is in the part {row['part']!r}. Parts are {', '.join(PARTS)}.")
        row["part"] = part
    repeated = [one for one, count in Counter(row["id"] for row in rows).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: {_named('ids are in it more than once', repeated)}. Keep one row for each.")


def _named(what: str, ids: Sequence[str]) -> str:
    return f"{len(ids)} {what} ({name_some(ids, 10)})"


Duplicates = Sequence[Sequence[str]]


@dataclass(frozen=True, repr=False)
class Split:
    """The train, val and test parts of a data set; it unpacks as ``train, val, test = split``.

    ``Sample.part`` of the samples is the part that they are in, so that a table of them (``Dataset.to_csv``) has the same split.

    Attributes:
        train: Part for training.
        val: Part for model selection.
        test: Part for a single, final evaluation.
        seed: Random seed of the split.
        fractions: Requested fractions of the parts.
    """

    train: Dataset
    val: Dataset
    test: Dataset
    seed: int
    fractions: tuple[float, float, float]

    def __post_init__(self) -> None:
        for name in PARTS:
            object.__setattr__(self, name, _assigned(getattr(self, name), name))

    def __iter__(self) -> Iterator[Dataset]:
        return iter((self.train, self.val, self.test))

    def __repr__(self) -> str:
        return "\n".join(f"{name:5} {part!r}" for name, part in zip(PARTS, self, strict=True))

    def _repr_html_(self) -> str:
        header = ("", "scans", *self._classes, "with masks", "groups")
        rows = [
            (
                name,
                len(part),
                *(sum(one.label == label for one in part) for label in self._classes),
                sum(bool(one.masks) for one in part),
                len({one.group for one in part if one.group is not None}),
            )
            for name, part in zip(PARTS, self, strict=True)
        ]
        return html_table(f"Split of {self.train.name} (seed {self.seed})", rows, header)

    @property
    def _classes(self) -> list[str]:
        return list(dict.fromkeys(label for part in self for label in part.classes))

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the split as JSON, with the content hash of each scan; ``bcdseg.load_split`` loads it.

        Args:
            path: The file, which is written atomically.
            overwrite: Whether to replace an existing file.
        """
        write(self, path, overwrite)


def split(
    dataset: Dataset,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    *,
    seed: int = 0,
    group: str | None = "auto",
    duplicates: Duplicates | None = None,
) -> Split:
    """Split a data set into train, val and test.

    Groups (patients where known, and always the copies of one scan) stay whole. The split is stratified by class, and by whether a
    scan has a mask, in the proportions of ``fractions``. If no scans are grouped, each class is within one scan of its fraction in
    each part; if each group has one class, it is within the size of its largest group. Every class is in every part, even where its
    fraction is less than one scan. Parts that the data set itself prescribes are not used; ``Dataset.part`` returns them.
    The samples of the parts have the groups that were kept together, and ``Sample.part`` is their new part.

    Args:
        dataset: The data set to split.
        fractions: Fractions of train, val and test, which add up to 1. A fraction of 0 leaves that part empty.
        seed: Random seed; the same seed, data set and groups give the same split on every machine.
        group: ``"auto"``, or None to separate patients and copies, which issues a warning.
        duplicates: Groups of ids that show the same scan. None takes those of the audit that was applied to the data set, or
            searches for them.

    Raises:
        OptionError: ``dataset`` is not a data set, the fractions are not three that add up to 1, the seed is not a whole number of
            0 or more, or a class has fewer groups than there are parts.
    """
    wanted = _fractions(fractions)
    check_whole(seed=seed)
    grouped = _grouped(dataset, group, duplicates)
    units = number_groups(grouped.samples)
    used = [at for at, fraction in enumerate(wanted) if fraction > 0]
    part_of = np.array(used)[_divide(grouped, units, np.array(wanted)[used], seed, "parts")]
    train, val, test = (_take(grouped, part_of == at) for at in range(len(PARTS)))
    return Split(train, val, test, seed, wanted)


def folds(
    dataset: Dataset,
    k: int = 5,
    *,
    repeats: int = 1,
    seed: int = 0,
    group: str | None = "auto",
    duplicates: Duplicates | None = None,
) -> list[tuple[Dataset, Dataset]]:
    """Split a data set k times into (train, test) for cross-validation, with each scan in one test part of each repeat.

    Args:
        dataset: The data set to split.
        k: Number of folds.
        repeats: Number of times that all folds are drawn; the folds of one repeat follow each other.
        seed: Random seed of the first repeat; each further repeat uses the next number.
        group: ``"auto"``, or None to separate patients and copies, which issues a warning.
        duplicates: Groups of ids that show the same scan, as in ``split``.

    Raises:
        OptionError: ``dataset`` is not a data set, k, repeats or seed are too small or not whole numbers, or a class has fewer
            groups than there are folds.
    """
    check_whole(2, k=k)
    check_whole(1, repeats=repeats)
    check_whole(seed=seed)
    grouped = _grouped(dataset, group, duplicates)
    units = number_groups(grouped.samples)
    drawn = (_divide(grouped, units, np.full(k, 1 / k), seed + repeat, "folds") for repeat in range(repeats))
    return [_fold(_take(grouped, fold_of != fold), _take(grouped, fold_of == fold)) for fold_of in drawn for fold in range(k)]


def _fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    try:
        checked = [float(fraction) for fraction in fractions]
    except (TypeError, ValueError):
        checked = []
    if len(checked) != 3 or not all(0 <= fraction <= 1 for fraction in checked) or abs(sum(checked) - 1) > 1e-6:
        raise OptionError(f"fractions={fractions!r}: give the fractions of train, val and test, together 1; 0 leaves a part empty.")
    return checked[0], checked[1], checked[2]


def _grouped(dataset: Dataset, group: str | None, duplicates: Duplicates | None) -> Dataset:
    """Return the data set with patients and copies merged into groups."""
    check_data(dataset)
    if group is None:
        message = "group=None: copies of one scan and scans of one patient may be on both sides; figures measured so are too good."
        warnings.warn(message, LeakWarning, stacklevel=3)
        return replace(dataset, samples=tuple(replace(sample, group=None) for sample in dataset))
    if group != "auto":
        raise OptionError(f"group={group!r}: choose 'auto' (patients and duplicates) or None. Patients belong in the samples.")
    if duplicates is None:
        from bcdseg.data.duplicates.search import duplicate_groups

        duplicates = duplicate_groups(dataset)  # perhaps of more samples, where these are a selection of them
    else:
        check_same_data(dataset, duplicates)
    groups = merged_groups(dataset.samples, duplicates)
    return replace(dataset, samples=tuple(replace(sample, group=name) for sample, name in zip(dataset, groups, strict=True)))


def _divide(dataset: Dataset, units: NDArray[np.int64], fractions: NDArray[np.float64], seed: int, what: str) -> NDArray[np.int64]:
    """Return the number of each sample's part."""
    _enough(dataset, units, len(fractions), what)
    counts, classes = count_features(dataset.samples, units), len(dataset.classes)
    part_of = assign_groups(counts, fractions, classes, seed)
    for part in range(len(fractions)):
        if not counts[part_of == part, :classes].any(axis=0).all():
            raise OptionError(
                f"{dataset.name}: groups of several classes leave one of {len(fractions)} {what} without a class. "
                f"Try another seed, or choose fewer {what}."
            )
    return part_of[units]


def _enough(dataset: Dataset, units: NDArray[np.int64], parts: int, what: str) -> None:
    """Raise an error if some of the parts would lack a class."""
    pairs = {(sample.label, int(unit)) for sample, unit in zip(dataset, units, strict=True)}
    counts = Counter(label for label, _ in pairs)
    few = [f"{label!r} has {counts[label]}" for label in dataset.classes if counts[label] < parts]
    if few:
        raise OptionError(
            f"{dataset.name}: {parts} {what} need {parts} groups of each class (a patient, or a scan with its copies, is one), "
            f"but {', '.join(few)}. Choose fewer {what}, or leave the class out with select."
        )
    if len(np.unique(units)) < parts:
        raise OptionError(f"{dataset.name}: {parts} {what} need at least as many groups; there are {len(np.unique(units))}.")


def _take(dataset: Dataset, chosen: NDArray[np.bool_]) -> Dataset:
    return replace(dataset, samples=tuple(dataset.samples[row] for row in np.flatnonzero(chosen)))


def _fold(train: Dataset, test: Dataset) -> tuple[Dataset, Dataset]:
    return _assigned(train, "train"), _assigned(test, "test")


def _assigned(dataset: Dataset, part: str) -> Dataset:
    """Return the data set with all samples assigned to a part, in place of the one that their own data set prescribes."""
    return replace(dataset, samples=tuple(replace(sample, part=part) for sample in dataset))
