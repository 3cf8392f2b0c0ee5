"""Training, validation and test part of each run, and the scans of other hospitals."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

from plan import GROUPED, MAMMOGRAMS, OTHER_HOSPITALS, RunPlan

import bcdseg
from bcdseg import Dataset
from bcdseg.errors import LeakWarning
from bcdseg.training.recipes import Recipe

TEST, VALIDATION = 0.2, 0.1  # of all scans; of those that are not tested


@cache
def open_data(folder: Path, name: str) -> Dataset:
    """Open a data set, with patients and near-duplicates as groups.

    Mammograms have only patients as groups: at 150 pixels different breasts look like near-duplicates to the audit.
    """
    if name == MAMMOGRAMS:
        return bcdseg.open_dataset(folder / name / "labels.csv")
    data = bcdseg.open_dataset(folder / name)
    return data.apply_audit(bcdseg.audit(data), conflicts="keep")


def parts(run: RunPlan, data: Dataset) -> tuple[Dataset, Dataset, Dataset]:
    """Split the scans for a run.

    A fifth of them is the test part: any fifth where the split is random, whole groups where it is grouped. The validation part,
    which chooses the epoch, shares no group with the training part in either.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)  # that copies are on both sides is what the random split is to show
        group = "auto" if run.way == GROUPED else None
        rest, _, test = bcdseg.split(data, (1 - TEST, 0, TEST), seed=run.seed, group=group, duplicates=())
    train, val, _ = bcdseg.split(data.select(rest.ids), (1 - VALIDATION, VALIDATION, 0), seed=run.seed, duplicates=())
    return train, val, data.select(test.ids)


def other_hospitals(folder: Path, run: RunPlan, recipe: Recipe) -> dict[str, Dataset]:
    """Return the scans of other hospitals that have the recipe's classes, those of ultrasound only."""
    if run.data == MAMMOGRAMS:
        return {}
    found = {name: open_data(folder, name) for name in OTHER_HOSPITALS if (folder / name).is_dir()}
    return {name: recipe.narrow(data) for name, data in found.items()}
