"""MONAI transforms from a sample to a network's input.

An item is a dictionary: ``sample`` becomes ``image`` and ``mask``. The first part is deterministic and is what a cache stores:
scans loaded and converted to the network's channels and size. The second part is augmentation and normalisation. Without
augmentation both together are exactly the model's ``Preprocessing``, whatever the scan's dtype; augmentation works on 8 bits.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Union

import numpy as np
import torch
from monai.transforms import Compose, MapTransform, Randomizable
from monai.utils import convert_to_tensor

from bcdseg.data.dataset import Dataset
from bcdseg.data.images import to_uint8
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import BcdsegError, OptionError
from bcdseg.training.config import AUGMENT

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


Changes = Union["AlbumentationsStep", "MonaiStep"]


def augmentation(wanted: Any, preprocessing: Preprocessing) -> Changes | None:
    """Return the step that transforms scan and mask together, or None.

    Args:
        wanted: A name of ``AUGMENT``, an albumentations ``Compose`` (``image`` uint8, height x width x channels of the model;
            ``mask`` uint8, height x width) or a MONAI ``Compose`` (``image`` and ``mask`` float32 tensors from 0 to 1,
            channels x height x width). It must keep size and type: normalisation is the task of the model's preprocessing.
        preprocessing: Preprocessing of the model.
    """
    if isinstance(wanted, Compose):
        return MonaiStep(copy.deepcopy(wanted), preprocessing.channels)
    if isinstance(wanted, str) and wanted == "none":
        return None
    from bcdseg.training import augment

    if isinstance(wanted, str):
        return AlbumentationsStep(augment.build(wanted), None)
    if isinstance(wanted, augment.Pipeline):
        return AlbumentationsStep(copy.deepcopy(wanted), preprocessing.channels)
    raise OptionError(
        f"augment={type(wanted).__name__}: give one of {', '.join(AUGMENT)}, or a Compose of albumentations or of MONAI."
    )


class AlbumentationsStep(MapTransform, Randomizable):  # type: ignore[misc]
    """Albumentations pipeline as a MONAI transform; the image is first expanded to ``channels``, and None keeps gray as one."""

    def __init__(self, pipeline: Any, channels: int | None) -> None:
        super().__init__(KEYS)
        self.pipeline = pipeline
        self.channels = channels

    def start(self) -> None:
        """Prepare a process that augments; each calls this once."""
        from bcdseg.training.augment import one_thread

        one_thread()

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> AlbumentationsStep:
        """Seed the pipeline; this is called before each scan, so the result depends on the seed alone."""
        seed = seed if state is None else int(state.randint(2**31))
        self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return self

    def __call__(self, data: Mapping[str, Any]) -> Item:
        """Return the augmented item."""
        out = self.pipeline(image=_with_channels(to_uint8(data["image"]), self.channels), mask=data["mask"])
        image = np.asarray(out["image"])
        return {"image": image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image, "mask": np.asarray(out["mask"])}


class MonaiStep(MapTransform, Randomizable):  # type: ignore[misc]
    """MONAI pipeline whose inputs and outputs are tensors from 0 to 1."""

    def __init__(self, pipeline: Compose, channels: int) -> None:
        super().__init__(KEYS)
        self.pipeline = pipeline
        self.channels = channels

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> MonaiStep:
        """Seed the pipeline; this is called before each scan, so the result depends on the seed alone."""
        self.pipeline.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[str, Any]) -> Item:
        """Return the augmented item."""
        planes = np.moveaxis(_with_channels(to_uint8(data["image"]), self.channels), -1, 0).astype(np.float32) / 255
        mask = data["mask"][None].astype(np.float32)
        out = self.pipeline({"image": torch.from_numpy(planes), "mask": torch.from_numpy(mask)})
        image = convert_to_tensor(out["image"], track_meta=False).numpy().clip(0, 1)
        mask = convert_to_tensor(out["mask"], track_meta=False).numpy() > 0.5
        return {"image": image[0] if len(image) == 1 else np.moveaxis(image, 0, -1), "mask": mask[0].astype(np.uint8)}


def try_out(step: Changes, item: Item, preprocessing: Preprocessing, name: str) -> None:
    """Run the caller's augmentation on one scan, and raise an OptionError if its output is invalid."""
    size = item["mask"].shape
    step.set_random_state(seed=0)
    try:
        out = step(item)
    except Exception as error:  # the caller's own code may raise anything
        raise OptionError(f"augment: fails on {name} ({error.__cause__ or error}). Try it on one scan and its mask.") from error
    image, mask = out["image"], out["mask"]
    good = [size, (*size, 3)] if preprocessing.channels == 3 else [size]
    _check(image.shape in good, f"returns an image of {_form(image)} where {size[0]}x{size[1]} is needed", name)
    _check(mask.shape == size, f"returns a mask of {_form(mask)} where {size[0]}x{size[1]} is needed", name)
    fine = image.dtype == np.uint8 if isinstance(step, AlbumentationsStep) else bool(np.isfinite(image).all())
    _check(fine, f"returns an image of {image.dtype}: leave scaling and normalisation to the model's preprocessing", name)
    _check(set(np.unique(mask)) <= {0, 1}, "returns a mask with other values than 0 and 1: use nearest interpolation", name)


def _with_channels(image: Any, channels: int | None) -> Any:
    image = image[..., None] if image.ndim == 2 else image
    return np.repeat(image, channels, axis=2) if channels and image.shape[2] < channels else image


def _form(array: Any) -> str:
    return f"{'x'.join(map(str, array.shape))} {array.dtype}"


def _check(good: bool, wrong: str, name: str) -> None:
    if not good:
        raise OptionError(f"augment: for {name} it {wrong}.")


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
