"""MONAI transforms from a sample to a network's input.

An item is a dictionary: ``sample`` becomes ``image`` and ``mask``. The first part is deterministic and is what a cache stores:
scans loaded and converted to the network's channels and size. The second part is augmentation and normalisation. Without
augmentation both together are exactly the model's ``Preprocessing``, whatever the scan's dtype; augmentation works on 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, MapTransform

from bcdseg.data.dataset import Dataset
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import BcdsegError

KEYS = ("image", "mask")
Item = dict[str, Any]


def preparation(dataset: Dataset, preprocessing: Preprocessing) -> Compose:
    """Return the transform that loads, resizes and pads a sample to H x W (x 3) pixels and an H x W mask of 0 and 1."""
    return Compose([Load(dataset), Frame(preprocessing)])


def finishing(preprocessing: Preprocessing, augmentation: MapTransform | None) -> Compose:
    """Return the transform that augments, normalises and converts an item to tensors of channels x height x width, float32."""
    return Compose([*([] if augmentation is None else [augmentation]), Normalise(preprocessing)])


class Load(MapTransform):  # type: ignore[misc]
    """Transform that reads a sample's files. An unknown mask becomes all zero; ``Truth.has_mask`` marks it as unknown."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(("sample",))
        self.dataset = dataset

    def __call__(self, data: Mapping[str, Any]) -> Item:
        """Return the item with its pixels."""
        pixels, mask = self.dataset.read(data["sample"])
        return {"image": pixels, "mask": np.zeros(pixels.shape[:2], bool) if mask is None else mask}


class Frame(MapTransform):  # type: ignore[misc]
    """Transform of scan and mask to the network's channels and size. Three equal channels are reduced to one, which is cheaper."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__(KEYS)
        self.preprocessing = preprocessing

    def __call__(self, data: Mapping[str, Any]) -> Item:
        """Return the item in the network's channels and size."""
        image = self.preprocessing.framed(data["image"])
        if image.ndim == 3 and (image[..., :1] == image).all():
            image = np.ascontiguousarray(image[..., 0])
        return {"image": image, "mask": self.preprocessing.framed_mask(data["mask"]).astype(np.uint8)}


class Normalise(MapTransform):  # type: ignore[misc]
    """Transform that scales and normalises as the model's preprocessing does, and converts to tensors."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__(KEYS)
        self.preprocessing = preprocessing

    def __call__(self, data: Mapping[str, Any]) -> Item:
        """Return the item as tensors, channels x height x width."""
        image, mask = self.preprocessing.normalised(data["image"]), data["mask"].astype(np.float32)
        return {"image": torch.from_numpy(image), "mask": torch.from_numpy(mask)[None]}


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise the original error: MONAI wraps each error in one that only names the transform."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, BcdsegError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None
