"""Checks of the input of a training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bcdseg.data.dataset import Dataset
from bcdseg.errors import DatasetError
from bcdseg.model.model import Model
from bcdseg.types import Sample

SPLIT_IT = "Divide the data with bcdseg.split, which gives every part its share of each class, with and without masks"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Counts of the ground truth of one part.

    Attributes:
        scans: Number of scans.
        masks: Number of scans with a mask; a scan of the negative class has an empty one.
        labels: Number of scans with a label.
        both: Number of scans with both.
        classes: Number of scans of each class, in the model's order.
    """

    scans: int
    masks: int
    labels: int
    both: int
    classes: dict[str, int]

    def __str__(self) -> str:
        known = f"{self.masks} with a mask, {self.labels} with a label, {self.both} with both"
        counts = ", ".join(f"{count} {name}" for name, count in self.classes.items())
        return f"{self.scans} scans: {known}" + (f" ({counts})" if counts else "")


def look_at(dataset: Dataset, classes: Sequence[str], no_lesion: str | None) -> Inputs:
    """Count the masks and labels of a data set."""
    masks = [_has_mask(sample, no_lesion) for sample in dataset]
    labels = [sample.label is not None for sample in dataset]
    counts = Counter(sample.label for sample in dataset if sample.label is not None)
    order = [name for name in classes if counts[name]] + sorted(counts.keys() - set(classes))
    return Inputs(
        scans=len(dataset),
        masks=sum(masks),
        labels=sum(labels),
        both=sum(mask and label for mask, label in zip(masks, labels, strict=True)),
        classes={name: counts[name] for name in order},
    )


def check_inputs(model: Model, train: Dataset, val: Dataset) -> tuple[Inputs, Inputs]:
    """Raise an error for data that nothing can be learned from, or that can't select an epoch.

    Raises:
        DatasetError: A part has no samples; it has no ground truth for the model's heads; all training labels are one class; all
            masks are empty; or validation lacks masks, lesions or classes that training has.
    """
    for part, dataset in (("train", train), ("val", val)):
        if not len(dataset):
            raise DatasetError(f"{part}: {dataset.name} has no samples. {SPLIT_IT}.")
    seen, check = (look_at(part, model.classes, model.no_lesion) for part in (train, val))
    outlines, classifies = model.network.mask_head is not None, model.network.class_head is not None
    if not (outlines and seen.masks) and not (classifies and seen.labels):
        has = " and ".join(["a mask head"] * outlines + ["a class head"] * classifies)
        raise DatasetError(
            f"train: {train.name} has {seen.masks} masks and {seen.labels} labels, and the model has {has}: nothing can be "
            "learned. Give data with masks for a mask head, and with labels for a class head."
        )
    if classifies and seen.labels:
        _check_labels(train, seen, check)
    if outlines and seen.masks:
        _check_masks(model, train, val, check)
    return seen, check


def _check_labels(train: Dataset, seen: Inputs, check: Inputs) -> None:
    if len(seen.classes) < 2:
        raise DatasetError(
            f"train: all {seen.labels} labels of {train.name} are {next(iter(seen.classes))!r}: one class teaches nothing about "
            "others. Add scans of another class, or train the outlines only: bcdseg.create(..., classes=[], head=None)."
        )
    missing = [f"{name!r} (train has {count})" for name, count in seen.classes.items() if name not in check.classes]
    if missing:
        raise DatasetError(
            f"val: has no scan of {', '.join(missing)}, so no epoch could be chosen that is good at it. {SPLIT_IT}, "
            "or leave the class out with select."
        )


def _check_masks(model: Model, train: Dataset, val: Dataset, check: Inputs) -> None:
    if not check.masks:
        raise DatasetError(f"val: has no masks, and train has some: no epoch could be chosen by its outlines. {SPLIT_IT}.")
    for part, dataset in (("train", train), ("val", val)):
        if not _has_lesion(dataset, model.no_lesion):
            raise DatasetError(
                f"{part}: all masks of {dataset.name} are empty: there is no lesion to outline. Look at the mask files; masks are "
                "drawn in white, or any colour, on black. To train classes only: bcdseg.create(..., decoder=None)."
            )


def _has_mask(sample: Sample, no_lesion: str | None) -> bool:
    return bool(sample.masks) or (no_lesion is not None and sample.label == no_lesion)


def _has_lesion(dataset: Dataset, no_lesion: str | None) -> bool:
    """Return whether any mask has a lesion; usually only one mask is read."""
    likely = sorted((sample for sample in dataset if sample.masks), key=lambda sample: sample.label == no_lesion)
    masks = (dataset.read(sample)[1] for sample in likely)
    return any(mask is not None and mask.any() for mask in masks)
