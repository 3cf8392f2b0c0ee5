"""Overlap of the data of a run with the training data of the model that it starts from."""

from __future__ import annotations

from bcdseg.data.dataset import Dataset
from bcdseg.errors import LeakWarning
from bcdseg.evaluation.training_overlap import find_seen
from bcdseg.messages import warn_caller
from bcdseg.model.model import Model


def warn_of_overlap(model: Model, train: Dataset, val: Dataset) -> None:
    """Warn if the model was trained or chosen on scans of a run, or on copies or other scans of their groups.

    Validation scans that the model was trained on look better than new ones, and choose the wrong epoch. A new model, or one that
    doesn't store its training data, is not checked.

    Args:
        model: Model that the run starts from.
        train: Training part.
        val: Validation part.
    """
    shared = [find_seen(model, part) for part in (train, val)]
    counts = [len(part or ()) for part in shared]
    if any(counts):
        warn_caller(
            f"{model.name} was trained or chosen on {counts[0]} of {len(train)} training scans and {counts[1]} of {len(val)} "
            "validation scans, or on copies or other scans of their groups. "
            + ("The validation results will be too good, and may choose the wrong epoch: " if counts[1] else "")
            + "bcdseg.exclude_training_samples(model, data) returns the other scans.",
            LeakWarning,
        )
