"""Map-style data sets of torch, opened as data sets of this library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bcdseg.data.dataset import Dataset
from bcdseg.data.opening import open_dataset
from bcdseg.errors import DatasetError, OptionError

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
    - ``label``: the name of a class, or its index among the data set's ``classes``, or else among the model's.
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
    classes = tuple(getattr(part, "classes", ())) or tuple(model_classes)
    if not len(part):
        raise DatasetError(f"{name}: {type(part).__name__} has no items.")
    return open_dataset(_Rows(part, name, classes), name=f"{type(part).__name__} ({name})")


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
    if isinstance(label, bool) or not isinstance(label, int) or not UNKNOWN <= label < len(classes):
        raise DatasetError(
            f"{name}: its label is {label!r}: give the name of a class, a number from 0 to {len(classes) - 1} "
            f"({', '.join(classes)}), or None."
        )
    return None if label == UNKNOWN else classes[label]


def _scalar(value: Any) -> Any:
    """Return the Python value of a tensor or array without dimensions; other values unchanged."""
    return value.item() if getattr(value, "shape", None) == () else value
