"""Frozen folds of public data sets, which come with the package, so that results of different authors can be compared.

A file of folds has one row per scan: its released name, its fold, its group, the hash of its pixels and its fingerprint. Scans are
found by their pixels, so renamed and reordered files are the same scans. A copy of other pixels (rescaled, or saved with loss) is
found by its fingerprint, where several fit by its name too. ``scripts/freeze_folds.py`` writes the files.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bcdseg.data.dataset import Dataset
from bcdseg.data.hashing import NEAR, bit_distances, content_hash, fingerprint
from bcdseg.data.layouts.listing import split_path
from bcdseg.errors import DatasetError, DataWarning
from bcdseg.messages import check_choice, name_some, warn_caller
from bcdseg.types import Sample

FORMAT = "bcdseg folds"
CONFLICT = "label_conflict"
"""Fact of samples whose scan occurs in the released data under two labels."""

FILES = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.json"))}
"""The files of folds by name, such as ``busi-v1``."""


@dataclass(frozen=True)
class FrozenScan:
    """A scan of a released data set.

    Attributes:
        name: Released file name without its suffix.
        fold: Number of its fold.
        group: Number of its group, or None if no other scan belongs to it.
        hash: Content hash, or None where the released pixels were not available.
        fingerprint: Perceptual hash.
        conflict: Whether a copy of it has another label.
    """

    name: str
    fold: int
    group: int | None
    hash: str | None
    fingerprint: str
    conflict: bool


def frozen_folds(name: str, dataset: Dataset, on_problem: str = "error") -> list[Dataset]:
    """Return the scans of each fold, with the groups that were kept together.

    Args:
        name: Name of the folds: ``"busi-v1"``, ``"bus-bra-v1"`` or ``"bus-uclm-v1"``.
        dataset: The data set; its scans are recognised by their pixels.
        on_problem: ``"error"`` raises an error if the scans are not the same; ``"skip"`` uses those that both have, with a warning.

    Raises:
        DatasetError: Scans are missing, or not in the list of folds; the message names them.
        OptionError: There are no such folds.
    """
    check_choice("name", name, tuple(FILES))
    check_choice("on_problem", on_problem, ("error", "skip"))
    scans = read_scans(FILES[name])
    found = _found(dataset, scans)
    _check_same(name, dataset, scans, found, on_problem)
    samples: dict[int, list[Sample]] = defaultdict(list)
    for sample in dataset:
        if scan := found.get(sample.id):
            samples[scan.fold].append(_in_group(sample, scan, name))
    return [replace(dataset, samples=tuple(samples[fold])) for fold in range(1 + max(scan.fold for scan in scans))]


def read_scans(path: Path) -> list[FrozenScan]:
    """Read the rows of a file of folds."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    conflicts = {one for group in content["conflicts"] for one in group}
    return [FrozenScan(name, fold, group, hashed, mark, name in conflicts) for name, fold, group, hashed, mark in content["scans"]]


def _in_group(sample: Sample, scan: FrozenScan, name: str) -> Sample:
    facts = {**sample.facts, CONFLICT: "yes"} if scan.conflict else sample.facts
    return replace(sample, group=None if scan.group is None else f"{name} group {scan.group}", facts=facts)


def _found(dataset: Dataset, scans: Sequence[FrozenScan]) -> dict[str, FrozenScan]:
    """Return the scan of the list that each sample shows, by the samples' ids, for those that show one."""
    found: dict[str, FrozenScan] = {}
    same_pixels: dict[str | None, list[FrozenScan]] = defaultdict(list)
    for scan in scans:
        same_pixels[scan.hash].append(scan)
    for sample in dataset:
        if same := same_pixels.get(content_hash(sample.image)):
            chosen = max(same, key=lambda scan: scan.name == _name(sample))
            same.remove(chosen)
            found[sample.id] = chosen
    taken = {scan.name for scan in found.values()}
    rest = [scan for scan in scans if scan.name not in taken]
    samples = [sample for sample in dataset if sample.id not in found] if rest else []
    return found | {samples[row].id: rest[column] for row, column in _nearest(samples, rest)}


def _nearest(samples: Sequence[Sample], scans: Sequence[FrozenScan]) -> Iterator[tuple[int, int]]:
    """Yield pairs of a sample and a scan whose fingerprints are near: those of one name first, then the nearest, each one once."""
    bits = bit_distances([fingerprint(sample.image) for sample in samples], [scan.fingerprint for scan in scans])
    near = [
        (_name(samples[row]) != scans[column].name, bits[row, column], row, column) for row, column in np.argwhere(bits <= NEAR)
    ]
    rows: set[int] = set()
    columns: set[int] = set()
    for _, _, row, column in sorted(near):
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            yield row, column


def _name(sample: Sample) -> str:
    return split_path(sample.id)[1]


def _check_same(name: str, dataset: Dataset, scans: Sequence[FrozenScan], found: dict[str, FrozenScan], on_problem: str) -> None:
    """Raise an error, or issue a warning, if the data set has not exactly the scans of the list."""
    present = {scan.name for scan in found.values()}
    unknown = [sample.id for sample in dataset if sample.id not in found]
    missing = [scan.name for scan in scans if scan.name not in present]
    if not unknown and not missing:
        return
    differences = [f"{len(unknown)} of its scans are not in the list ({name_some(unknown)})"] if unknown else []
    differences += [f"{len(missing)} of the {len(scans)} listed scans are missing ({name_some(missing)})"] if missing else []
    message = f"{name}: {dataset.name} has other scans than the list of folds: {'; '.join(differences)}."
    if on_problem == "error" or not found:
        raise DatasetError(f"{message} Open the released data; or on_problem='skip' uses the {len(found)} scans that both have.")
    warn_caller(f"{message} The {len(found)} scans that both have are used.", DataWarning)
