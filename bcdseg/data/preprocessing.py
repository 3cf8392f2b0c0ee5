"""Preprocessing shared by training, prediction and export.

It is plain data, so it can be written into a model's ``config.json``; a saved model is run with its own and no other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.data.images import to_gray
from bcdseg.errors import OptionError
from bcdseg.types import Mask, Pixels

RESIZES = ("stretch", "fit", "none")
MOST_STRIDE = 1024
BAND = 1024  # rows of a plane that are resized at once
Array = NDArray[np.float32]


class Prepared(NamedTuple):
    """A network input, channels x height x width, and where the scan lies in it."""

    array: Array
    placement: Placement


@dataclass(frozen=True)
class Placement:
    """Where a scan lies in a network's input, so that a map over the input can be brought back.

    Attributes:
        source: Height and width of the scan as it came.
        resized: Height and width it was resized to.
        top: Rows of padding above it.
        left: Columns of padding left of it.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int

    def restore(self, over_input: Array) -> Array:
        """A map over the network's input as a map over the scan, at the scan's own height and width."""
        height, width = self.resized
        inside = over_input[self.top : self.top + height, self.left : self.left + width]
        return resize_plane(inside, self.source)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to a scan before a network sees it.

    Attributes:
        size: Height and width that scans are resized to. Any numbers: what the network's stride asks for beyond them
            is padded with black, and cut off again.
        resize: ``"stretch"`` fills ``size`` whatever the aspect ratio; ``"fit"`` keeps the aspect ratio and pads;
            ``"none"`` leaves each scan at its own size.
        channels: 1 (colour becomes gray) or 3 (gray is repeated).
        mean: Subtracted from intensities of 0 to 1, one number a channel.
        std: Divided by after that, one number a channel.
        stride: Height and width of the input become multiples of this.
    """

    size: tuple[int, int] = (256, 256)
    resize: str = "stretch"
    channels: int = 1
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    stride: int = field(default=32, repr=False)

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise OptionError(f"resize={self.resize!r} is unknown: choose one of {', '.join(RESIZES)}.")
        if len(self.size) != 2 or not all(isinstance(side, int) and 16 <= side <= 10_000 for side in self.size):
            raise OptionError(f"size={self.size!r}: give height and width in pixels, each from 16 to 10000.")
        if type(self.stride) is not int or not 1 <= self.stride <= MOST_STRIDE:
            raise OptionError(f"stride={self.stride!r}: give a whole number from 1 to {MOST_STRIDE}.")
        if self.channels not in (1, 3) or not len(self.mean) == len(self.std) == self.channels:
            raise OptionError(f"channels={self.channels}: choose 1 or 3, with as many numbers in mean and in std.")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise OptionError(f"mean={self.mean!r}, std={self.std!r}: give finite numbers, and each of std above 0.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Build the record from what ``dataclasses.asdict`` and JSON made of it."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the network's input for a scan that is resized."""
        return _multiple(self.size[0], self.stride), _multiple(self.size[1], self.stride)

    def __call__(self, pixels: Pixels) -> Prepared:
        """Channels, size, padding, scale, normalisation, in this order."""
        return Prepared(self.normalised(self.framed(pixels)), self.placement(pixels.shape[:2]))

    def placement(self, source: tuple[int, ...]) -> Placement:
        """Where a scan of this height and width comes to lie."""
        resized = self._resized((source[0], source[1]))
        height, width = self._frame(resized)
        return Placement((source[0], source[1]), resized, (height - resized[0]) // 2, (width - resized[1]) // 2)

    def framed(self, pixels: Pixels) -> Pixels:
        """Channels, size and padding: H x W, or H x W x 3 for a colour scan and a network that takes colour; the dtype is kept."""
        if pixels.ndim == 3 and self.channels == 3:
            return np.stack([self._placed(np.ascontiguousarray(pixels[..., channel])) for channel in range(3)], axis=-1)
        return self._placed(to_gray(pixels))

    def framed_mask(self, mask: Mask) -> Mask:
        """A mask over the scan as a mask over the network's input: a pixel is lesion where half of it or more is."""
        whole: Mask = self._placed(np.where(mask, np.uint8(255), np.uint8(0))) > 127
        return whole

    def normalised(self, framed: Pixels) -> Array:
        """Scale and normalisation of what ``framed`` made: channels x height x width, float32."""
        planes = [framed] if framed.ndim == 2 else list(np.moveaxis(framed, -1, 0))
        array = np.empty((self.channels, *framed.shape[:2]), np.float32)
        for channel in range(self.channels):
            array[channel] = _unit_range(planes[channel % len(planes)])
        array -= np.array(self.mean, np.float32)[:, None, None]
        array /= np.array(self.std, np.float32)[:, None, None]
        return array

    def _placed(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane at its size, with black around it where the network's input is larger."""
        at = self.placement(plane.shape)
        plane, frame = resize_plane(plane, at.resized), self._frame(at.resized)
        if plane.shape == frame:
            return plane
        placed = np.zeros(frame, plane.dtype)
        placed[at.top : at.top + at.resized[0], at.left : at.left + at.resized[1]] = plane
        return placed

    def _resized(self, source: tuple[int, int]) -> tuple[int, int]:
        if self.resize == "none":
            return source
        if self.resize == "stretch":
            return self.size
        scale = min(self.size[0] / source[0], self.size[1] / source[1])
        return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))

    def _frame(self, resized: tuple[int, int]) -> tuple[int, int]:
        return (_multiple(resized[0], self.stride), _multiple(resized[1], self.stride)) if self.resize == "none" else self.frame


def _multiple(side: int, of: int) -> int:
    return -(-side // of) * of


def resize_plane(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Bilinear, with the smoothing that shrinking needs; pixel centres stay where they are.

    Across first, then down: Pillow rounds in between, and which comes first when left to it differs between its versions.
    """
    if plane.shape == size:
        return plane
    across = _across(plane, size[1])
    return np.asarray(across.resize(size[::-1], Image.Resampling.BILINEAR))


def _across(plane: NDArray[Any], width: int) -> Image.Image:
    """At its new width. Of a large plane band by band, which changes nothing: it is never copied as a whole."""
    if plane.shape[0] <= BAND:
        return Image.fromarray(plane).resize((width, plane.shape[0]), Image.Resampling.BILINEAR)
    bands = [np.asarray(_across(plane[top : top + BAND], width)) for top in range(0, plane.shape[0], BAND)]
    return Image.fromarray(np.concatenate(bands))


def _unit_range(plane: NDArray[Any]) -> Array:
    if plane.dtype == np.uint8:
        scaled: Array = plane.astype(np.float32) / np.float32(255)
        return scaled
    return plane.astype(np.float32, copy=False)
