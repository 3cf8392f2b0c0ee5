"""Preprocessing shared by training, prediction and export.

It is plain data, so that a model's ``config.json`` can contain it; a saved model always runs with its own preprocessing.
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
BAND = 1024  # rows of a plane that are resized together
Array = NDArray[np.float32]


class Prepared(NamedTuple):
    """A network input (channels x height x width) and the placement of the scan in it."""

    array: Array
    placement: Placement


@dataclass(frozen=True)
class Placement:
    """The placement of a scan in a network input, so that a map over the input can be mapped back to the scan.

    Attributes:
        source: Height and width of the original scan.
        resized: Height and width of the resized scan.
        top: Rows of padding above the scan.
        left: Columns of padding to the left of the scan.
        frame: Height and width of the network input.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int
    frame: tuple[int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """Slices of the rows and columns of the network input that contain the scan."""
        return slice(self.top, self.top + self.resized[0]), slice(self.left, self.left + self.resized[1])

    def restore(self, over_input: Array) -> Array:
        """Crop and resize a map over the network input to a map over the scan, at the scan's own height and width."""
        return resize_plane(over_input[self.window], self.source)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preprocessing of a scan for a network.

    Attributes:
        size: Height and width that scans are resized to. All sizes are possible: black padding up to a multiple of the stride is
            added, and cropped from the output.
        resize: ``"stretch"`` fills ``size`` whatever the aspect ratio; ``"fit"`` keeps the aspect ratio and pads; ``"none"`` keeps
            each scan's own size.
        channels: 1 (colour is converted to gray) or 3 (gray is repeated).
        mean: Mean that is subtracted from intensities of 0 to 1, one number per channel.
        std: Standard deviation, one number per channel; the difference is divided by it.
        stride: The height and width of the input are multiples of this number.
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
        """Create an object from the output of ``dataclasses.asdict``, also after a round trip through JSON."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the network input for a resized scan."""
        return _multiple(self.size[0], self.stride), _multiple(self.size[1], self.stride)

    def __call__(self, pixels: Pixels) -> Prepared:
        """Convert the channels of a scan, resize it, pad it, scale it and normalise it, in this order."""
        return Prepared(self.normalised(self.framed(pixels)), self.placement(pixels.shape[:2]))

    def placement(self, source: tuple[int, ...]) -> Placement:
        """Return the placement of a scan with this height and width."""
        height, width = resized = source[0], source[1]
        if self.resize == "stretch":
            resized = self.size
        elif self.resize == "fit":
            down = rounded_quotient(height * self.size[1], width)
            across = rounded_quotient(width * self.size[0], height)
            resized = max(1, min(self.size[0], down)), max(1, min(self.size[1], across))
        frame = (_multiple(height, self.stride), _multiple(width, self.stride)) if self.resize == "none" else self.frame
        return Placement((height, width), resized, (frame[0] - resized[0]) // 2, (frame[1] - resized[1]) // 2, frame)

    def framed(self, pixels: Pixels) -> Pixels:
        """Convert channels, resize and pad: H x W, or H x W x 3 if both the scan and the network have colour; the dtype is kept."""
        if pixels.ndim == 3 and self.channels == 3:
            return np.stack([self._placed(np.ascontiguousarray(pixels[..., channel])) for channel in range(3)], axis=-1)
        return self._placed(to_gray(pixels))

    def framed_mask(self, mask: Mask) -> Mask:
        """Resize and pad a mask like its scan; a pixel is lesion if at least half of it is."""
        whole: Mask = self._placed(np.where(mask, np.uint8(255), np.uint8(0))) > 127
        return whole

    def normalised(self, framed: Pixels) -> Array:
        """Scale and normalise the output of ``framed`` to channels x height x width, float32."""
        planes = [framed] if framed.ndim == 2 else list(np.moveaxis(framed, -1, 0))
        white = np.float32(255 if framed.dtype == np.uint8 else 1)
        array = np.empty((self.channels, *framed.shape[:2]), np.float32)
        for channel in range(self.channels):
            array[channel] = planes[channel % len(planes)].astype(np.float32) / white
        array -= np.array(self.mean, np.float32)[:, None, None]
        array /= np.array(self.std, np.float32)[:, None, None]
        return array

    def _placed(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Resize a plane, and pad it with black if the network input is larger."""
        at = self.placement(plane.shape)
        plane = resize_plane(plane, at.resized)
        if plane.shape == at.frame:
            return plane
        placed = np.zeros(at.frame, plane.dtype)
        placed[at.window] = plane
        return placed


def _multiple(side: int, of: int) -> int:
    return -(-side // of) * of


def rounded_quotient(dividend: Any, divisor: Any) -> Any:
    """Return a quotient of positive integers, rounded to the nearest integer, and to the even one of two.

    Exported graphs compute it too, with tensors. Integers are exact there and here, while fractions round unlike in each format.
    """
    whole = dividend // divisor
    twice = 2 * (dividend - whole * divisor)
    return whole + ((twice > divisor) | ((twice == divisor) & (whole % 2 == 1)))


def resize_plane(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize a plane bilinearly, with antialiasing when it shrinks; pixel centres keep their positions.

    The width is resized before the height: Pillow rounds in between, and its own order differs between its versions.
    """
    if plane.shape == size:
        return plane
    across = _across(plane, size[1])
    return np.asarray(across.resize(size[::-1], Image.Resampling.BILINEAR))


def _across(plane: NDArray[Any], width: int) -> Image.Image:
    """Resize a plane to a width; a large one is resized in bands, with the same result, so that it is never copied as a whole."""
    if plane.shape[0] <= BAND:
        return Image.fromarray(plane).resize((width, plane.shape[0]), Image.Resampling.BILINEAR)
    bands = [np.asarray(_across(plane[top : top + BAND], width)) for top in range(0, plane.shape[0], BAND)]
    return Image.fromarray(np.concatenate(bands))
