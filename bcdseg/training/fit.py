"""``bcdseg.fit``: from a model and scans to a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from bcdseg.data.dataset import Dataset
from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.models.model import Model
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
    """Train a model to outline and to classify, both from the same scans.

    Each scan teaches what is known of it: one without a mask trains the classes only, one without a label the outlines only.
    A scan of the class that means 'no lesion' has an empty mask. The model handed in stays as it is; where the scans have a class
    that it doesn't know, encoder and decoder are kept and the class head gets a new last layer for the classes of the scans.

    After each epoch the validation scans are outlined and classified, by the running average of the weights where ``ema`` is on.
    The epoch that is kept is the one of the best joint score: the mean of a mask score (the mean over all scans with a known mask
    of the Dice of a scan with a lesion, and of 1 or 0 for a scan without one in which nothing or something is outlined) and of the
    balanced accuracy of the classes; of one of the two where only one is known.

    Args:
        model: From ``bcdseg.create`` or ``bcdseg.load``.
        train: Scans to learn from.
        val: Scans to choose the epoch by. They may share neither a scan nor a group with ``train``.
        out: A new folder for the run; by default the first free of ``runs/ENCODER-1``, ``-2`` ...
        config: The options; by default those of ``FitConfig()``.
        augment: One of ``FitConfig``'s names, or an albumentations or MONAI ``Compose`` of your own.
        teacher: A model whose answers are learned besides the truth, of both heads; see ``bcdseg.training.finetune``. Of the same
            classes and size. An ensemble is one too.
        resume: Go on with the run in ``out`` after its last whole epoch, as if it had never been stopped. Where ``out`` holds no
            run yet, one begins. Without ``config`` the run's own options hold; those given may only change how it is computed
            (``workers``, ``cache``, ``device`` ...), not what comes out.
        options: Fields of ``FitConfig``, in place of those of ``config``.

    Returns:
        The trained model, the folder, and the history.

    Raises:
        OptionError: An option isn't valid, or a run that goes on was begun with others.
        DatasetError: Nothing can be learned from the scans, or no epoch be chosen by them.
        LeakError: ``train`` and ``val`` share a scan or a group.
        OutputError: The folder can't be written, or the disk is too full; told before anything is trained.
        NotFiniteError: The loss became NaN or infinite; the message names the scans.
        MemoryLimitError: The memory doesn't suffice; the message says what to lower.
    """
    require("pytorch_lightning", extra="train", purpose="Training")
    from bcdseg.training.engine import train_model

    if isinstance(augment, str):
        options, augment = {**options, "augment": augment}, None
    _check_kinds(model, train, val, teacher)
    folder = None if out is None else Path(out)
    if resume and folder is None:
        raise OptionError("resume=True goes on with the run in a folder: give it as out=.")
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
    """The config with its fields replaced; None when nothing was asked for."""
    for name in options:
        known_name(name)
    if config is not None and not isinstance(config, FitConfig):
        raise OptionError(f"config={config!r}: give a FitConfig, or read one with bcdseg.read_config(path).")
    if not options:
        return config
    return replace(config or FitConfig(), **options)
