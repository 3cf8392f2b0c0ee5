"""Augmentation as a MONAI transform."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any, Union

import numpy as np
import torch
from monai.transforms import Compose, MapTransform, Randomizable
from monai.utils import convert_to_tensor

from bcdseg.data.images import to_uint8
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import OptionError
from bcdseg.training.config import AUGMENT
from bcdseg.training.data.transforms import KEYS, Item

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
    _check(image.shape in good, f"the image comes out as {_form(image)}, and has to stay {size[0]}x{size[1]}", name)
    _check(mask.shape == size, f"the mask comes out as {_form(mask)}, and has to stay {size[0]}x{size[1]}", name)
    fine = image.dtype == np.uint8 if isinstance(step, AlbumentationsStep) else bool(np.isfinite(image).all())
    _check(fine, f"the image comes out as {image.dtype}: leave scaling and normalisation to the model's preprocessing", name)
    _check(set(np.unique(mask)) <= {0, 1}, "the mask comes out with other values than 0 and 1: use nearest interpolation", name)


def _with_channels(image: Any, channels: int | None) -> Any:
    image = image[..., None] if image.ndim == 2 else image
    return np.repeat(image, channels, axis=2) if channels and image.shape[2] < channels else image


def _form(array: Any) -> str:
    return f"{'x'.join(map(str, array.shape))} {array.dtype}"


def _check(good: bool, wrong: str, name: str) -> None:
    if not good:
        raise OptionError(f"augment: of {name} {wrong}.")
