"""Scans of the comparison: BUSI, audited, in folds that share no copy of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bcdseg
from bcdseg import Dataset
from bcdseg.data.images import read_image
from bcdseg.data.masks import read_mask

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
CLASSES = ("normal", "benign", "malignant")
FOLDS = 5


@dataclass(frozen=True)
class Scans:
    """The audited scans of BUSI.

    Attributes:
        all: Every scan but those whose copies carry two labels, with the audit's groups.
        measured: The ids to measure on: one scan of each group of copies.
        shown: The groups of the scans in ``data/sample``, on which users try the released model.
        dropped: Number of scans with two labels, which are left out.
    """

    all: Dataset
    measured: frozenset[str]
    shown: frozenset[str]
    dropped: int

    def fold(self, number: int) -> tuple[Dataset, Dataset, Dataset]:
        """Return the training, validation and test part of a fold."""
        train, test = bcdseg.folds(self.all, FOLDS, duplicates=())[number]  # copies are groups already
        return *_with_validation(train), test.select([name for name in test.ids if name in self.measured])

    def release(self) -> tuple[Dataset, Dataset]:
        """Return the training and validation part of a released model: all scans but the groups that are shown."""
        return _with_validation(self.all.select([one.id for one in self.all if _group(one) not in self.shown]))


def open_scans(folder: Path) -> Scans:
    """Audit BUSI, leave out scans with two labels, and put copies into one group."""
    data = bcdseg.open_dataset(folder)
    found = bcdseg.audit(data)
    kept = data.apply_audit(found)
    first = data.apply_audit(found, duplicates="first")
    sample = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.glob("*/*.png")}
    shown = frozenset(_group(one) for one in kept if one.id in sample)
    return Scans(kept, frozenset(first.ids), shown, len(data) - len(kept))


def _group(sample: bcdseg.Sample) -> str:
    return sample.group or sample.id


def _with_validation(data: Dataset) -> tuple[Dataset, Dataset]:
    train, val, _ = bcdseg.split(data, (0.9, 0.1, 0), duplicates=())
    return train, val


def smallest_lesion(data: Dataset) -> float:
    """Return the area of the smallest lesion as a fraction of its scan."""
    masks = (read_mask(one.masks, read_image(one.image).shape[:2]) for one in data if one.masks)
    return min(float(mask.mean()) for mask in masks if mask.any())
