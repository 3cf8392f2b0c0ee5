"""``bcdseg.fit``, which trains a model on scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.data.dataset import Dataset
from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.model.model import Model
from bcdseg.training.config import FitConfig
from bcdseg.training.config_file import known_name, read_config
from bcdseg.training.custom import Custom
from bcdseg.training.data.adapter import MapDataset, as_dataset
from bcdseg.training.run import CONFIG, Run

if TYPE_CHECKING:
    from bcdseg.training.loop.task import SegmentationClassificationTask


def fit(
    model: Model,
    train: Dataset | MapDataset,
    val: Dataset | MapDataset,
    *,
    out: str | PathLike[str] | None = None,
    config: FitConfig | None = None,
    augment: Any = None,
    loss: str | Callable[..., Any] | None = None,
    optimizer: str | Callable[..., Any] | None = None,
    callbacks: Any = (),
    logger: Any = (),
    task: type[SegmentationClassificationTask] | None = None,
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
        train: Training scans: a data set of ``bcdseg.open_dataset``, or any map-style data set of torch whose items are mappings
            with the keys ``image``, ``mask``, ``label`` and ``group``, or tuples in this order, with None for what is unknown.
        val: Validation scans, which select the epoch. They may share neither a scan nor a group with ``train``.
        out: A new folder for the run; by default the first free of ``runs/ENCODER-1``, ``-2`` ...
        config: The options; by default those of ``FitConfig()``.
        augment: One of ``FitConfig``'s names, or an albumentations or MONAI ``Compose``.
        loss: A registered name, or a function or module of your own: ``loss(output, truth)`` of an ``Output`` and the ground truth
            (``mask``, ``has_mask``, ``label``) returns a scalar.
        optimizer: One of ``FitConfig``'s names, a registered name, the class of an optimiser of torch, or a function that makes one
            of parameter groups; each group has its own ``lr`` and ``weight_decay``.
        callbacks: Callbacks of Lightning, one or several.
        logger: Loggers of Lightning, or names of ``FitConfig.loggers``, one or several.
        task: A subclass of ``bcdseg.SegmentationClassificationTask``, in its place.
        teacher: A model of the same classes and size, also an ensemble, whose outputs of both heads are distilled besides the
            ground truth; see ``bcdseg.training.finetune``.
        resume: Whether to resume the run in ``out`` after its last complete epoch, with the result of an uninterrupted run. Where
            ``out`` contains no run yet, a new one starts. Without ``config`` the run's own options apply; given options may only
            change how it is computed (``workers``, ``cache``, ``device`` ...), not the result. Objects of your own are given again.
        options: Fields of ``FitConfig``, in place of those of ``config``.

    Returns:
        The trained model, the folder, and the history.

    Raises:
        OptionError: An option isn't valid, a resumed run was started with others, or the trained model could not be saved because
            its encoder isn't registered.
        DatasetError: Nothing can be learned from the training scans, or the validation scans can't select an epoch.
        LeakError: ``train`` and ``val`` share a scan or a group.
        OutputError: The folder can't be written, or the disk is too full; this is raised before training starts.
        NotFiniteError: The loss became NaN or infinite; the message names the scans.
        MemoryLimitError: The memory doesn't suffice; the message says which options to lower.

    Examples:
        >>> import bcdseg
        >>> train, val, test = bcdseg.split(bcdseg.open_dataset("Dataset_BUSI_with_GT"))
        >>> model = bcdseg.create("resnet50", classes=train.classes)
        >>> run = bcdseg.fit(model, train, val, epochs=60, batch_size=16, out="runs/first")
        >>> run.model.predict(test[0].image)
    """
    require("pytorch_lightning", extra="train", purpose="Training")
    from bcdseg.training.engine import train_model

    _check_models(model=model, teacher=teacher)
    objects: dict[str, Any] = {"augment": augment, "loss": loss, "optimizer": optimizer}
    options |= {name: value for name, value in objects.items() if isinstance(value, str)}
    loggers = _several(logger)
    if names := tuple(one for one in loggers if isinstance(one, str)):
        options["loggers"] = (*options.get("loggers", ()), *names)
    custom = Custom(
        **{name: value for name, value in objects.items() if not isinstance(value, str)},
        callbacks=_several(callbacks),
        loggers=tuple(one for one in loggers if not isinstance(one, str)),
        task=task,
    )
    folder = None if out is None else Path(out)
    if resume and folder is None:
        raise OptionError("resume=True resumes the run in a folder: give it as out=.")
    if config is None and options and resume and folder is not None and (folder / CONFIG).is_file():
        config = read_config(folder / CONFIG)
    chosen = _chosen(config, options)
    train, val = (as_dataset(part, name, model.classes) for name, part in (("train", train), ("val", val)))
    return train_model(model, train, val, out=folder, config=chosen, custom=custom, teacher=teacher, resume=resume)


def _check_models(*, model: Model, teacher: Model | None) -> None:
    for name, given in (("model", model), *(() if teacher is None else (("teacher", teacher),))):
        if not isinstance(given, Model):
            raise OptionError(f"{name}={given!r}: give a model, from bcdseg.create or bcdseg.load.")


def _several(given: Any) -> tuple[Any, ...]:
    """Return one object, or several in a list, as a tuple."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)


def _chosen(config: FitConfig | None, options: Mapping[str, Any]) -> FitConfig | None:
    """Return the config with its fields replaced; None when there is neither a config nor an option."""
    for name in options:
        known_name(name)
    if config is not None and not isinstance(config, FitConfig):
        raise OptionError(f"config={config!r}: give a FitConfig, or read one with bcdseg.read_config(path).")
    if not options:
        return config
    return replace(config or FitConfig(), **options)
