"""Plan of a training run: its input is checked before anything is written."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from bcdseg.data.dataset import Dataset
from bcdseg.data.masks import has_mask
from bcdseg.errors import DatasetError, DataWarning, LeakWarning
from bcdseg.evaluation.training_overlap import find_seen
from bcdseg.messages import counted, percent, warn_caller
from bcdseg.model.model import Model
from bcdseg.networks.network import Network, check_rebuildable
from bcdseg.terminal import make_console
from bcdseg.training.config import FitConfig
from bcdseg.training.custom import Custom
from bcdseg.training.finetune import Teacher, adapt
from bcdseg.training.loop.processes import is_first, preserve_global_state
from bcdseg.training.loop.task import freeze_encoder
from bcdseg.training.loop.trainer import check_compiler
from bcdseg.types import Mask, Sample

SPLIT_IT = "Divide the data with bcdseg.split, which gives every part its share of each class, with and without masks"


CORNERS = np.ix_((0, -1), (0, -1))
FEATURES_CHANGE = "and training changes the features that it uses."
OF_JOINT_LOSS = ("mask_loss", "class_loss", "label_smoothing", "task_weights")


@dataclass(frozen=True, kw_only=True)
class Supervision:
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
        return f"{counted(self.scans, 'scan')}: {known}" + (f" ({counts})" if counts else "")


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Plan of a run before it starts.

    Attributes:
        model: Initial model, adapted to the classes of the data.
        train: Training scans.
        val: Validation scans, which select the epoch.
        train_counts: Ground-truth counts of ``train``.
        val_counts: Ground-truth counts of ``val``.
        limits: Sentences on the heads and classes that the scans can't train, for the model card.
        config: The options.
        custom: Objects of the caller in place of those that the config names.
        teacher: Teacher whose outputs are distilled, or None.
        report: Function that prints a line, in the first process, unless ``progress`` is off.
    """

    model: Model
    train: Dataset
    val: Dataset
    train_counts: Supervision
    val_counts: Supervision
    limits: tuple[str, ...]
    config: FitConfig
    custom: Custom = field(default_factory=Custom)
    teacher: Teacher | None
    report: Callable[[str], None]

    @property
    def description(self) -> dict[str, Any]:
        """Configuration and preprocessing of the network of a checkpoint's weights, and what else the trained model inherits."""
        inherited = json.dumps([asdict(self.model.rules), self.model.training.get("seen")], sort_keys=True)
        return {
            "network": asdict(self.model.network.config),
            "preprocessing": asdict(self.model.preprocessing),
            "initial model": {"decision rules and training scans": sha256(inherited.encode()).hexdigest()[:16]},
        }

    def network(self) -> Network:
        """Return a network to train. A head without ground truth is frozen, where weight decay would change it."""
        network = copy.deepcopy(self.model.network)
        assert isinstance(network, Network)  # ensembles were refused before
        network.train().requires_grad_(True)
        freeze_encoder(network, self.config.freeze_encoder_epochs == -1)
        for head, known in ((network.mask_head, self.train_counts.masks), (network.class_head, self.train_counts.labels)):
            if head is not None and not known:
                head.requires_grad_(False)
        # The network needs this layout too: with channels-last images alone a step takes 1.4 times as long.
        return network.to(memory_format=torch.channels_last) if self.config.channels_last else network


def make_plan(
    model: Model, train: Dataset, val: Dataset, config: FitConfig, *, custom: Custom, teacher: Model | None = None
) -> TrainingPlan:
    """Check all input of a run, and print a summary of it.

    Raises:
        BcdsegError: The input is inconsistent; its subclass depends on the check that failed.
    """
    check_rebuildable(model.network)
    if config.compile:
        check_compiler()
    with preserve_global_state():
        torch.manual_seed(config.seed)  # for a class head that is reinitialised
        model, changed = adapt(model, train.classes)
    train_counts, val_counts = check_supervision(model, train, val)
    if is_first():
        warn_of_overlap(model, train, val)
    report = _reporter(config)
    limits = tuple(_not_trained(model, train_counts))
    for line in (
        f"Training: {train_counts}",
        f"Validation: {val_counts}",
        *([changed] if changed else []),
        *limits,
        *_not_used(model, train, config, custom),
    ):
        report(line)
    return TrainingPlan(
        model=model,
        train=train,
        val=val,
        train_counts=train_counts,
        val_counts=val_counts,
        limits=limits,
        config=config,
        custom=custom,
        teacher=None if teacher is None else Teacher(teacher, model),
        report=report,
    )


def _not_trained(model: Model, counts: Supervision) -> Iterator[str]:
    """Yield sentences on the heads and classes that the scans can't train."""
    if model.network.config.decoder is not None and not counts.masks:
        yield f"No masks: the mask head is not trained, {FEATURES_CHANGE} Measure the masks before you use them."
    if model.classes and not counts.labels:
        yield f"No labels: the class head is not trained, {FEATURES_CHANGE} Measure the classes before you use them."
    elif missing := [name for name in model.classes if name not in counts.classes]:
        yield f"No training scan of {', '.join(missing)}: the model learns not to predict this class."


def _not_used(model: Model, train: Dataset, config: FitConfig, custom: Custom) -> Iterator[str]:
    """Yield sentences on masks that the model can't use, and on options of the joint loss that another loss replaces."""
    if model.network.config.decoder is None and any(sample.masks for sample in train):
        yield "The model has no decoder, so it only classifies: the masks of the data are not used."
    own = "your own" if custom.loss is not None else None if config.loss == FitConfig.loss else repr(config.loss)
    unused = [f"{name}={value!r}" for name, value in config.changed().items() if name in OF_JOINT_LOSS]
    if own and unused:
        yield f"The loss is {own}, which does not use {', '.join(unused)}."


def _reporter(config: FitConfig) -> Callable[[str], None]:
    console = make_console(stderr=True, quiet=not (config.progress and is_first()))
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def count_ground_truth(dataset: Dataset, classes: Sequence[str], no_lesion: str | None) -> Supervision:
    """Count the masks and labels of a data set."""
    masks = [has_mask(sample, no_lesion) for sample in dataset]
    labels = [sample.label is not None for sample in dataset]
    counts = Counter(sample.label for sample in dataset if sample.label is not None)
    order = [name for name in classes if counts[name]] + sorted(counts.keys() - set(classes))
    return Supervision(
        scans=len(dataset),
        masks=sum(masks),
        labels=sum(labels),
        both=sum(mask and label for mask, label in zip(masks, labels, strict=True)),
        classes={name: counts[name] for name in order},
    )


def check_supervision(model: Model, train: Dataset, val: Dataset) -> tuple[Supervision, Supervision]:
    """Raise an error for data that nothing can be learned from, or that can't select an epoch.

    Raises:
        DatasetError: A part has no samples; it has no ground truth for the model's heads; all training labels are one class; all
            masks are empty; or validation lacks masks, lesions or classes that training has.
    """
    for part, dataset in (("train", train), ("val", val)):
        if not len(dataset):
            raise DatasetError(f"{part}: {dataset.name} has no samples. {SPLIT_IT}.")
    train_counts, val_counts = (count_ground_truth(part, model.classes, model.no_lesion) for part in (train, val))
    outlines, classifies = model.network.mask_head is not None, model.network.class_head is not None
    if not (outlines and train_counts.masks) and not (classifies and train_counts.labels):
        has = " and ".join(["a mask head"] * outlines + ["a class head"] * classifies)
        raise DatasetError(
            f"train: {train.name} has {train_counts.masks} masks and {train_counts.labels} labels, and the model has {has}: "
            "nothing can be learned. Give data with masks for a mask head, and with labels for a class head."
        )
    if classifies and train_counts.labels:
        _check_labels(train, train_counts, val_counts)
    if outlines and train_counts.masks:
        _check_masks(model, train, val, val_counts)
    return train_counts, val_counts


def _check_labels(train: Dataset, train_counts: Supervision, val_counts: Supervision) -> None:
    if len(train_counts.classes) < 2:
        raise DatasetError(
            f"train: all {train_counts.labels} labels of {train.name} are {next(iter(train_counts.classes))!r}: one class teaches "
            "nothing about others. Add scans of another class, or train the masks only: bcdseg.create(..., classes=[], head=None)."
        )
    missing = [f"{name!r} (train has {count})" for name, count in train_counts.classes.items() if name not in val_counts.classes]
    if missing:
        raise DatasetError(
            f"val: has no scans of {', '.join(missing)}, so no epoch can be selected for them. {SPLIT_IT}, "
            "or leave the class out with select."
        )


def _check_masks(model: Model, train: Dataset, val: Dataset, val_counts: Supervision) -> None:
    if not val_counts.masks:
        raise DatasetError(f"val: has no masks, and train has some: no epoch could be chosen by its outlines. {SPLIT_IT}.")
    inverted = []
    for part, dataset in (("train", train), ("val", val)):
        sample, lesion = next(_lesions(dataset, model.no_lesion), (None, None))
        if sample is None or lesion is None:
            found = (
                f"all masks of {dataset.name} are empty. Look at the mask files; masks are drawn in white, or any colour, on black"
                if any(sample.masks for sample in dataset)
                else f"no lesion of {dataset.name} has a mask, and the masks of scans of {model.no_lesion!r} are empty"
            )
            raise DatasetError(f"{part}: {found}. Add masks of lesions, or train classes only: bcdseg.create(..., decoder=None).")
        if lesion.mean() > 0.5 and lesion[CORNERS].all():
            inverted.append(f"{part}: the mask of {sample.id} covers {percent(lesion.mean())} of its scan, with all corners")
    if inverted:
        message = "Masks are drawn in white, or any colour, on black: is it inverted, or is its background of another colour?"
        warn_caller(f"{inverted[0]}. {message} Look at the scans with show().", DataWarning)


def _lesions(dataset: Dataset, no_lesion: str | None) -> Iterator[tuple[Sample, Mask]]:
    """Yield the masks that have a lesion; usually only one mask is read."""
    for sample in sorted((sample for sample in dataset if sample.masks), key=lambda sample: sample.label == no_lesion):
        mask = dataset.read(sample)[1]
        if mask is not None and mask.any():
            yield sample, mask


def warn_of_overlap(model: Model, train: Dataset, val: Dataset) -> None:
    """Warn if scans of a run, copies of them or other scans of their groups are in the training or validation data of the model.

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
            f"{counts[0]} of {len(train)} training scans and {counts[1]} of {len(val)} validation scans, copies of them or other "
            f"scans of their groups are in the training or validation data of {model.name}. "
            + ("The validation results will be too good, and may choose the wrong epoch: " if counts[1] else "")
            + "bcdseg.exclude_training_samples(model, data) returns the other scans.",
            LeakWarning,
        )
