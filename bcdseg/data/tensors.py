"""Data sets as tensors, for training loops of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset as TorchDataset

from bcdseg.data.grouping import number_groups
from bcdseg.data.labels import check_labels, match_spellings
from bcdseg.data.masks import has_mask
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import OptionError

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

UNKNOWN = -1
"""Number of an unknown label, as in the library's own losses."""

Item = dict[str, Any]
Change = Callable[[Item], Item]


class TensorDataset(TorchDataset[Item]):
    """Map-style data set whose items are dicts; ``torch.utils.data.default_collate`` makes batches of them.

    An item has these values:

    - ``image``: the preprocessed scan, channels x height x width, float32.
    - ``mask``: the lesions in the same frame, 1 x height x width, float32; zeros if the mask is unknown.
    - ``has_mask``: whether the mask is known; leave the others out of a mask loss, because they are not empty.
    - ``label``: number of the class; -1 if it is unknown: ``cross_entropy(..., ignore_index=-1)`` leaves it out.
    - ``group``: number of the group; scans of one patient, and copies of one scan, have the same number.
    - ``id``: id of the sample.

    Args:
        dataset: The data set.
        preprocessing: Preprocessing of the scans.
        classes: Classes in the order of their numbers.
        negative_class: Class without a lesion, whose scans have an empty mask when they have no mask file, or None.
        transform: Function of an item that returns it changed, or None.

    Raises:
        OptionError: The negative class is not one of the classes.
        DatasetError: A label is not one of the classes.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing,
        classes: Sequence[str],
        negative_class: str | None = None,
        transform: Change | None = None,
    ) -> None:
        if negative_class is not None and negative_class not in classes:
            raise OptionError(f"negative_class={negative_class!r}: is not one of the classes {', '.join(classes)}.")
        dataset = match_spellings(dataset, classes, "the model")
        check_labels(dataset, classes, dataset.name)
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.classes = tuple(classes)
        self.negative_class = negative_class
        self.transform = transform
        self.groups = number_groups(dataset.samples)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Item:
        sample = self.dataset.samples[number]
        pixels, mask = self.dataset.read(sample)
        image = torch.from_numpy(self.preprocessing(pixels).array)
        if mask is None:
            lesion = torch.zeros(1, *image.shape[1:])
        else:
            lesion = torch.from_numpy(self.preprocessing.framed_mask(mask)).float()[None]
        item = {
            "image": image,
            "mask": lesion,
            "has_mask": has_mask(sample, self.negative_class),
            "label": UNKNOWN if sample.label is None else self.classes.index(sample.label),
            "group": int(self.groups[number]),
            "id": sample.id,
        }
        return item if self.transform is None else self.transform(item)
