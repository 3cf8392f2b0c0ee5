"""``bcdseg.fit``, which trains a model on scans: those of a data set, or of a map-style data set of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bcdseg.data.dataset import Dataset
from bcdseg.data.opening import open_dataset
from bcdseg.errors import DatasetError, OptionError
from bcdseg.extras import require
from bcdseg.model.model import Model
from bcdseg.training.config import FitConfig, known_name, read_config
from bcdseg.training.custom import Custom
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
            (``mask``, ``has_mask``, ``label``) returns a scalar. Not with a ``task`` that overrides ``configure_loss``.
        optimizer: One of ``FitConfig``'s names, a registered name, the class of an optimiser of torch, or a function that makes one
            of parameter groups; each group has its own ``lr``, ``weight_decay`` and ``momentum`` of the options, which replace
            arguments of the optimiser. Not with a ``task`` that overrides ``configure_optimizers``.
        callbacks: Callbacks of Lightning, one or several.
        logger: Loggers of Lightning, or names of ``FitConfig.loggers``, one or several.
        task: A subclass of ``bcdseg.SegmentationClassificationTask``, in its place.
        teacher: A model of the same classes and size, also an ensemble, whose outputs of both heads are distilled besides the
            ground truth; see ``bcdseg.training.finetune``.
        resume: Whether to resume the run in ``out`` after its last complete epoch, with the result of an uninterrupted run. Where
            ``out`` contains no run yet, a new one starts. Without ``config`` the run's own options apply; given options may only
            change how it is computed (``workers``, ``cache``, ``device`` ...), not the result. Objects of your own are given again:
            the settings of a loss and an optimiser are compared (attributes, buffers, arguments of a ``partial``, enclosed values),
            their code is not.
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
        MemoryLimitError: The memory doesn't suffice; the message states the options to lower.

    Examples:
        >>> import bcdseg
        >>> train, val, test = bcdseg.split(bcdseg.open_dataset("Dataset_BUSI_with_GT"))
        >>> model = bcdseg.create("resnet50", classes=train.classes)
        >>> run = bcdseg.fit(model, train, val, epochs=60, batch_size=16, out="runs/first")
        >>> run.model.predict(test[0].image)
    """
    require("pytorch_lightning", extra="train", purpose="Training")
    from bcdseg.training.engine import train_model
    from bcdseg.training.loop.task import SegmentationClassificationTask

    _check_models(model=model, teacher=teacher)
    for option, given, method in (("loss", loss, "configure_loss"), ("optimizer", optimizer, "configure_optimizers")):
        overridden = getattr(task, method, None) not in (None, getattr(SegmentationClassificationTask, method))
        if given is not None and overridden:
            raise OptionError(f"{option}={given!r}: {task!r} makes its own in {method}. Leave out one of both.")
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
    if config is None:
        return FitConfig(**options) if options else None
    return replace(config, **options)


FIELDS = ("image", "mask", "label", "group")
UNKNOWN = -1
"""Number of the label of a scan whose class is unknown."""


class MapDataset(Protocol):
    """Map-style data set of torch: anything with a length whose items are read by their index.

    An item is a mapping with the keys ``image``, ``mask``, ``label`` and ``group``, or a tuple of two to four of these in this
    order. All but the image may be missing or None, which means that they are unknown.

    - ``image``: H x W, or H x W x 3 or 3 x H x W, uint8, uint16 or floats from 0 to 1: an array, a tensor or a PIL image; or the
      path of a file.
    - ``mask``: an array or tensor of the image's height and width, above 0 is lesion; or the path of a file.
    - ``label``: the name of a class, or its index among the ``classes`` of the data set (or of the one that it is a subset of), or
      else among the model's. Where names of classes are numbers, such as BI-RADS categories, a label is a name, as a text.
    - ``group``: the patient, a text or a number. A group may not be in both parts.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


def as_dataset(part: Dataset | MapDataset, name: str, model_classes: Sequence[str]) -> Dataset:
    """Return a map-style data set as a data set of this library; one of this library is returned unchanged.

    The items are read once, in order. Where reading is random, such as with augmentation, the first reading is kept.

    Args:
        part: The data set.
        name: Name of the part for error messages.
        model_classes: Classes of the model, for labels that are numbers.

    Raises:
        OptionError: The object is not a data set.
        DatasetError: An item isn't as documented in ``MapDataset``.
    """
    if isinstance(part, Dataset):
        return part
    if isinstance(part, str) or not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        raise OptionError(
            f"{name}={part!r}: give a data set of bcdseg.open_dataset, or any data set with __len__ and __getitem__ whose items "
            f"are {', '.join(FIELDS)}."
        )
    if isinstance(part, Mapping) or (hasattr(part, "columns") and hasattr(part, "to_dict")):
        raise OptionError(f"{name}={type(part).__name__}: is a table: open it with bcdseg.open_dataset.")
    classes = _classes_of(part, name) or tuple(model_classes)
    if not len(part):
        raise DatasetError(f"{name}: {type(part).__name__} has no items.")
    return open_dataset(_Rows(part, name, classes), name=f"{type(part).__name__} ({name})")


def _classes_of(part: Any, name: str) -> tuple[str, ...]:
    """Return the classes that the labels of a data set number: its own, or those of the data sets that it was made of."""
    if own := tuple(getattr(part, "classes", None) or ()):
        return own
    below = getattr(part, "datasets", None) or [one for one in (getattr(part, "dataset", None),) if one is not None]
    found = {_classes_of(one, name) for one in below} - {()}
    if len(found) > 1:
        raise DatasetError(f"{name}: its data sets have different classes: {found}. Give labels as names, not as numbers.")
    return next(iter(found), ())


@dataclass(frozen=True)
class _Rows:
    """The items of a data set as rows of a table, each read when it is needed."""

    part: MapDataset
    name: str
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return _row(self.part[index], f"{self.name}[{index}]", self.classes)


def _row(item: Any, name: str, classes: Sequence[str]) -> dict[str, Any]:
    """Return an item as a row of a table, with the label's name and the group as a text."""
    if isinstance(item, tuple) and 2 <= len(item) <= len(FIELDS):
        item = dict(zip(FIELDS, item, strict=False))
    if not isinstance(item, Mapping) or item.get("image") is None:
        found = f"a tuple of {len(item)}" if isinstance(item, tuple) else f"{type(item).__name__} without an image"
        raise DatasetError(
            f"{name}: is {found}: return a mapping with the keys {', '.join(FIELDS)}, or a tuple in this order, with None for what "
            "is unknown."
        )
    mask, group = item.get("mask"), _scalar(item.get("group"))
    if mask is not None and isinstance(_scalar(mask), (bool, int, float)):
        raise DatasetError(f"{name}: its mask is the number {_scalar(mask)}: a tuple is {', '.join(FIELDS)}, in this order.")
    return {**item, "label": _label(item.get("label"), name, classes), "group": None if group is None else str(group)}


def _label(label: Any, name: str, classes: Sequence[str]) -> str | None:
    label = _scalar(label)
    if label is None or isinstance(label, str):
        return label
    is_index = isinstance(label, int) and not isinstance(label, bool) and UNKNOWN <= label < len(classes)
    if str(label) in classes and not (is_index and classes[label] == str(label)):
        raise DatasetError(
            f"{name}: its label is the number {label!r}, and numbers are names of classes ({', '.join(classes)}): give the name as "
            f"a text, {str(label)!r}."
        )
    if not is_index:
        raise DatasetError(
            f"{name}: its label is {label!r}: give the name of a class, a number from 0 to {len(classes) - 1} "
            f"({', '.join(classes)}), or None."
        )
    return None if label == UNKNOWN else classes[label]


def _scalar(value: Any) -> Any:
    """Return the Python value of a tensor or array without dimensions; other values unchanged."""
    return value.item() if getattr(value, "shape", None) == () else value
