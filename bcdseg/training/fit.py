"""``bcdseg.fit``, which trains a model on scans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from bcdseg.data.dataset import Dataset
from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.model.model import Model
from bcdseg.training.config import FitConfig
from bcdseg.training.config_file import known_name, read_config
from bcdseg.training.run import CONFIG, Run


def fit(
    model: Model,
    train: Dataset,
    val: Dataset,
    *,
    out: str | PathLike[str] | None = None,
    config: FitConfig | None = None,
    augment: Any = None,
    teacher: Model | None = None,
    resume: bool = False,
    **options: Any,
) -> Run:
    """Train a model for segmentation and classification, both on the same scans.

    Each scan trains the heads that it has ground truth for: one without a mask only the class head, one without a label only the
    mask head. A scan of the negative class has an empty mask. The given model is not changed; where the scans have a class that it
    doesn't have, encoder and decoder are kept and the class head gets a new last layer for the classes of the scans.

    After each epoch the validation scans are segmented and classified, with the average of the weights where ``ema`` is on.
    The epoch with the best joint score is kept. The joint score is the mean of a mask score (the mean over all scans with a known
    mask of the Dice of a scan with a lesion, and of 1 for a scan without one in which nothing is outlined, else 0) and of the
    balanced accuracy of the classes; or one of the two where only one is known.

    Args:
        model: Model from ``bcdseg.create`` or ``bcdseg.load``.
        train: Training scans.
        val: Validation scans, which select the epoch. They may share neither a scan nor a group with ``train``.
        out: A new folder for the run; by default the first free of ``runs/ENCODER-1``, ``-2`` ...
        config: The options; by default those of ``FitConfig()``.
        augment: One of ``FitConfig``'s names, or an albumentations or MONAI ``Compose``.
        teacher: A model of the same classes and size, also an ensemble, whose outputs of both heads are distilled besides the
            ground truth; see ``bcdseg.training.finetune``.
        resume: Whether to resume the run in ``out`` after its last complete epoch, with the result of an uninterrupted run. Where
            ``out`` contains no run yet, a new one starts. Without ``config`` the run's own options apply; given options may only
            change how it is computed (``workers``, ``cache``, ``device`` ...), not the result.
        options: Fields of ``FitConfig``, in place of those of ``config``.

    Returns:
        The trained model, the folder, and the history.

    Raises:
        OptionError: An option isn't valid, or a resumed run was started with others.
        DatasetError: Nothing can be learned from the training scans, or the validation scans can't select an epoch.
        LeakError: ``train`` and ``val`` share a scan or a group.
        OutputError: The folder can't be written, or the disk is too full; this is raised before training starts.
        NotFiniteError: The loss became NaN or infinite; the message names the scans.
        MemoryLimitError: The memory doesn't suffice; the message says which options to lower.
    """
    require("pytorch_lightning", extra="train", purpose="Training")
    from bcdseg.training.engine import train_model

    if isinstance(augment, str):
        options, augment = {**options, "augment": augment}, None
    _check_kinds(model, train, val, teacher)
    folder = None if out is None else Path(out)
    if resume and folder is None:
        raise OptionError("resume=True resumes the run in a folder: give it as out=.")
    if config is None and options and resume and folder is not None and (folder / CONFIG).is_file():
        config = read_config(folder / CONFIG)
    return train_model(
        model, train, val, out=folder, config=_chosen(config, options), augment=augment, teacher=teacher, resume=resume
    )


def _check_kinds(model: Model, train: Dataset, val: Dataset, teacher: Model | None) -> None:
    for name, given in (("model", model), *(() if teacher is None else (("teacher", teacher),))):
        if not isinstance(given, Model):
            raise OptionError(f"{name}={given!r}: give a model, from bcdseg.create or bcdseg.load.")
    for name, part in (("train", train), ("val", val)):
        if not isinstance(part, Dataset):
            raise OptionError(f"{name}={part!r}: give a data set, from bcdseg.open_dataset and bcdseg.split.")


def _chosen(config: FitConfig | None, options: Mapping[str, Any]) -> FitConfig | None:
    """Return the config with its fields replaced; None when there is neither a config nor an option."""
    for name in options:
        known_name(name)
    if config is not None and not isinstance(config, FitConfig):
        raise OptionError(f"config={config!r}: give a FitConfig, or read one with bcdseg.read_config(path).")
    if not options:
        return config
    return replace(config or FitConfig(), **options)
