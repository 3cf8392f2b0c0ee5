"""Map-style data sets of torch, converted to data sets of this library."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bcdseg.data.dataset import Dataset
from bcdseg.data.images import read_image
from bcdseg.data.masks import mask_of
from bcdseg.errors import BcdsegError, DatasetError, OptionError
from bcdseg.types import Mask, Sample

FIELDS = ("image", "mask", "label", "group")
UNKNOWN = -1
"""Label of a scan whose class is unknown, besides None."""


class MapDataset(Protocol):
    """Map-style data set of torch: anything with a length whose items are read by their index.

    An item is a mapping with the keys ``image``, ``mask``, ``label`` and ``group``, or a tuple of two to four of these in this
    order. All but the image may be missing or None, which means that they are unknown.

    - ``image``: H x W, or H x W x 3 or 3 x H x W, uint8, uint16 or floats from 0 to 1: an array, a tensor or a PIL image.
    - ``mask``: an array or tensor of the image's height and width; above 0 is lesion.
    - ``label``: the name of a class, or its index among the data set's ``classes``, or else among the model's.
    - ``group``: the patient, a text or a number. Groups may not be in both parts.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@contextmanager
def converted(model_classes: Sequence[str], **parts: Any) -> Iterator[list[Dataset]]:
    """Yield the parts as data sets of this library, as long as the context is open.

    The items of map-style data sets are read once, and stored in a temporary folder that only this user can read. Where data are
    read at random, such as with augmentation, the first reading is stored.

    Args:
        model_classes: Classes of the model, for labels that are numbers.
        parts: Data sets by the names that error messages use.
    """
    own = [part for part in parts.values() if isinstance(part, Dataset)]
    if len(own) == len(parts):
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="bcdseg-") as folder:
        yield [
            part if isinstance(part, Dataset) else _stored(part, name, Path(folder) / name, model_classes)
            for name, part in parts.items()
        ]


def _stored(items: MapDataset, name: str, folder: Path, model_classes: Sequence[str]) -> Dataset:
    if not (hasattr(items, "__len__") and hasattr(items, "__getitem__")):
        raise OptionError(
            f"{name}={type(items).__name__}: give a data set of bcdseg.open_dataset, or any data set with __len__ and __getitem__ "
            "whose items are image, mask, label and group."
        )
    classes = tuple(getattr(items, "classes", ())) or tuple(model_classes)
    folder.mkdir()
    samples = tuple(_sample(items[index], f"{name}[{index}]", folder / f"{index:06d}", classes) for index in range(len(items)))
    return Dataset(samples, name=f"{type(items).__name__} ({name})")


def _sample(item: Any, name: str, path: Path, classes: Sequence[str]) -> Sample:
    values = _fields(item, name)
    try:
        pixels = read_image(values["image"], name)
    except BcdsegError as error:
        raise DatasetError(f"{error}") from error
    np.save(path.with_suffix(".npy"), pixels)
    masks: tuple[Path, ...] = ()
    if values.get("mask") is not None:
        mask = _mask(values["mask"], pixels.shape[:2], name)
        masks = (path.with_suffix(".mask.npy"),)
        np.save(masks[0], mask)
    group = values.get("group")
    return Sample(
        id=path.name,
        image=path.with_suffix(".npy"),
        masks=masks,
        label=_label(values.get("label"), name, classes),
        group=None if group is None else str(_scalar(group)),
    )


def _fields(item: Any, name: str) -> dict[str, Any]:
    if isinstance(item, tuple) and 2 <= len(item) <= len(FIELDS):
        return dict(zip(FIELDS, item, strict=False))
    if not isinstance(item, Mapping) or item.get("image") is None:
        found = f"a tuple of {len(item)}" if isinstance(item, tuple) else f"{type(item).__name__} without an image"
        raise DatasetError(
            f"{name}: is {found}: return a mapping with the keys {', '.join(FIELDS)}, or a tuple in this order, with None for what "
            "is unknown."
        )
    if unused := [key for key in item if key not in FIELDS]:
        warnings.warn(f"Items of the data set have keys that are not used: {', '.join(map(repr, unused))}.", stacklevel=2)
    return dict(item)


def _mask(values: Any, size: tuple[int, ...], name: str) -> Mask:
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.ndim < 2:
        raise DatasetError(f"{name}: its mask is {array!r}: give an array of the image's size; a tuple is {', '.join(FIELDS)}.")
    mask = mask_of(array)
    if mask.shape != size:
        raise DatasetError(f"{name}: its mask is {'x'.join(map(str, mask.shape))} and its image {'x'.join(map(str, size))} pixels.")
    return mask


def _label(label: Any, name: str, classes: Sequence[str]) -> str | None:
    label = _scalar(label)
    if label is None or isinstance(label, str):
        return label
    if isinstance(label, bool) or not isinstance(label, int) or not UNKNOWN <= label < len(classes):
        raise DatasetError(
            f"{name}: its label is {label!r}: give the name of a class, a number from 0 to {len(classes) - 1} "
            f"({', '.join(classes)}), or None."
        )
    return None if label == UNKNOWN else classes[label]


def _scalar(value: Any) -> Any:
    """Return the Python value of a tensor or array with one element; other values unchanged."""
    return value.item() if hasattr(value, "item") else value
