"""The windows of a large scan: which of them show something, and their pixels, cut out one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from scipy.ndimage import label

from bcdseg.data.images import to_gray
from bcdseg.data.preprocess import Preprocessing
from bcdseg.infer.answers import Array
from bcdseg.infer.tiles import Axis, Tiles, cut_axis
from bcdseg.types import Mask, Pixels

FLAT = 4 / 255  # a window whose intensities differ by no more than this shows nothing

Place = tuple[int, int]
"""Of a window among the others, down and across."""

Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of the network's own size over a scan that is resized by a scale.

    Attributes:
        pixels: Of the scan.
        preprocessing: The model's own.
        tiles: How the scan is cut.
    """

    pixels: Pixels
    preprocessing: Preprocessing
    tiles: Tiles

    @property
    def source(self) -> tuple[int, int]:
        """Height and width of the scan."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the resized scan."""
        return max(1, round(self.source[0] * self.tiles.scale)), max(1, round(self.source[1] * self.tiles.scale))

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Where windows begin, down and across."""
        (height, width), frame = self.size, self.preprocessing.frame
        return cut_axis(height, frame[0], self.tiles.overlap), cut_axis(width, frame[1], self.tiles.overlap)

    @cached_property
    def places(self) -> list[Place]:
        """The windows that go through the network; at least one."""
        down, across = (range(len(axis.starts)) for axis in self.axes)
        shows = np.array([[self._shows_something((row, column)) for column in across] for row in down])
        return [(int(row), int(column)) for row, column in np.argwhere(~background(shows))] or [(0, 0)]

    @property
    def seen_at_once(self) -> float:
        """How many of the scan's pixels a window covers."""
        (height, width), (down, across) = self.preprocessing.frame, self._steps
        return height * down * width * across

    def inside(self, place: Place) -> tuple[Window, Window]:
        """The part of a window that lies in the scan: its pixels in the resized scan, and in the window."""
        (rows, in_rows), (columns, in_columns) = (axis.inside(at) for axis, at in zip(self.axes, place, strict=True))
        return (rows, columns), (in_rows, in_columns)

    def weights(self, place: Place) -> Array:
        """How much a window counts at its pixels in the scan."""
        (down, across), (_, (rows, columns)) = self.axes, self.inside(place)
        counts: Array = np.outer(down.weights[place[0], rows], across.weights[place[1], columns])
        return counts

    def cut(self, place: Place) -> Array:
        """A window as the network takes it, with black where the scan is smaller."""
        wanted, within = self.inside(place)
        beneath = self._beneath(wanted)
        part = self.pixels[beneath]
        part = to_gray(part) if self.preprocessing.channels == 1 else part
        planes = [part] if part.ndim == 2 else [part[..., channel] for channel in range(part.shape[2])]
        cut = np.zeros((*self.preprocessing.frame, len(planes)), part.dtype)
        for channel, plane in enumerate(planes):
            cut[within][..., channel] = self._resampled(plane, beneath, wanted)
        return self.preprocessing.normalised(cut[..., 0] if len(planes) == 1 else cut)

    @property
    def _steps(self) -> tuple[float, float]:
        """Pixels of the scan to one of the resized scan, down and across."""
        return self.source[0] / self.size[0], self.source[1] / self.size[1]

    def _shows_something(self, place: Place) -> bool:
        part = self.pixels[self._beneath(self.inside(place)[0])]
        return float(part.max()) - float(part.min()) > FLAT * (255 if part.dtype == np.uint8 else 1)

    def _beneath(self, window: Window) -> Window:
        """The pixels of the scan that a window is made of, the neighbours that smoothing looks at included."""
        return _before_resizing(window[0], self._steps[0]), _before_resizing(window[1], self._steps[1])

    def _resampled(self, plane: Pixels, beneath: Window, window: Window) -> Pixels:
        if self.size == self.source:
            return plane
        edges = [
            (part.start * step - under.start, min(part.stop * step, under.stop) - under.start)
            for part, under, step in zip(window, beneath, self._steps, strict=True)
        ]
        (top, bottom), (left, right) = edges
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        picture = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom)))


def background(shows: Mask) -> Mask:
    """Which windows need no network: those that show nothing and reach an edge of the scan over others that show nothing.

    What shows nothing in the midst of a scan may be the inside of a lesion, and is looked at.
    """
    numbers, _ = label(~shows)
    at_edge = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    empty: Mask = np.isin(numbers, np.unique(at_edge[at_edge > 0]))
    return empty


def _before_resizing(window: slice, step: float) -> slice:
    if step == 1:
        return window
    beyond = max(1.0, step) + 1
    return slice(max(0, int(window.start * step - beyond)), int(window.stop * step + beyond) + 1)
