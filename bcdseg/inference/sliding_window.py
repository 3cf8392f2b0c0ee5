"""Sliding-window inference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from bcdseg.data.images import to_gray
from bcdseg.data.preprocessing import Prepared, Preprocessing
from bcdseg.errors import OptionError
from bcdseg.inference.regions import RegionOutput
from bcdseg.inference.streaming_components import bands, new_map, resized_map
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.class_scores import aggregate
from bcdseg.types import Mask, Pixels

SHARPNESS = 8  # a window's side over the standard deviation of its weights, as in MONAI
EDGE, EDGE_WEIGHT = 32, 1e-6  # what lies within a 32nd of a window's side of its edge counts only where no other window sees it
LARGEST_SCALE = 8.0
MOST_OVERLAP = 0.9


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How large scans are cut into windows of the network's own size.

    Attributes:
        scale: The scan is resized by this before it is cut: 1 is its native resolution, at 0.5 each window sees twice as far.
        overlap: Share of a window's side that the next one shares. More is smoother and slower.
        progress: Called after each window with how many of a scan's windows are done, and with how many there are. When many
            scans are predicted, it may be called from several threads.
    """

    scale: float = 1.0
    overlap: float = 0.25
    progress: Callable[[int, int], object] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 / LARGEST_SCALE**2 <= self.scale <= LARGEST_SCALE:
            raise OptionError(f"scale={self.scale!r} of tiles is not possible: choose from 1/64 to 8; 1 is the scan as it is.")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise OptionError(f"overlap={self.overlap!r} of tiles is not possible: choose a share from 0 to {MOST_OVERLAP}.")


class Axis(NamedTuple):
    """Where windows begin along one side of a scan, and their weights.

    Attributes:
        length: Pixels of the side.
        starts: Of each window; below 0 where the side is shorter than a window.
        weights: Windows x pixels of a window. At each pixel of the side, those of all windows are 1 together.
    """

    length: int
    starts: tuple[int, ...]
    weights: Array

    def inside(self, window: int) -> tuple[slice, slice]:
        """The part of a window that lies in the scan: its pixels there, and in the window."""
        start = self.starts[window]
        low, high = max(0, start), min(self.length, start + self.weights.shape[1])
        return slice(low, high), slice(low - start, high - start)


def cut_axis(length: int, window: int, overlap: float) -> Axis:
    """Windows along a side, evenly spread, as many as the overlap asks for."""
    if length <= window:
        return _weighted(length, window, (-((window - length) // 2),))
    step = max(1, int(window * (1 - overlap)))
    number = 1 + math.ceil((length - window) / step)
    return _weighted(length, window, tuple(int(start) for start in np.linspace(0, length - window, number).round()))


def _weighted(length: int, window: int, starts: tuple[int, ...]) -> Axis:
    own = _bell(window)
    axis = Axis(length, starts, np.zeros((len(starts), window), np.float32))
    total = np.zeros(length)
    for index in range(len(starts)):
        in_scan, in_window = axis.inside(index)
        total[in_scan] += own[in_window]
    for index in range(len(starts)):
        in_scan, in_window = axis.inside(index)
        axis.weights[index, in_window] = own[in_window] / total[in_scan]
    return axis


def _bell(window: int) -> NDArray[np.float64]:
    """A Gaussian, next to nothing at the edges: what a network says there depends on what it can't see."""
    middle = (window - 1) / 2
    bell: NDArray[np.float64] = np.exp(-0.5 * ((np.arange(window) - middle) / (window / SHARPNESS)) ** 2)
    edge = window // EDGE
    bell[:edge] *= EDGE_WEIGHT
    bell[window - edge :] *= EDGE_WEIGHT
    return bell


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


class TiledRegion:
    """An area as windows of the network's own size; for the class also as a whole, before them.

    A network that takes scans at their own size has no smaller whole: there the windows alone speak for the class.
    """

    def __init__(self, pixels: Pixels, preprocessing: Preprocessing, tiles: Tiles, *, threshold: float, has_classes: bool) -> None:
        self.windows = Windows(pixels, preprocessing, tiles)
        self.threshold = threshold
        self.shows_whole = has_classes and preprocessing.resize != "none"

    @property
    def count(self) -> int:
        """See ``Look``."""
        return len(self.windows.places) + self.shows_whole

    @cached_property
    def prepared(self) -> Prepared:
        """See ``Look``."""
        return self.windows.preprocessing(self.windows.pixels)

    def inputs(self) -> Iterator[Array]:
        """See ``Look``."""
        if self.shows_whole:
            yield self.prepared.array
        yield from map(self.windows.cut, self.windows.places)

    def take(self, answers: Iterator[RawOutput]) -> RegionOutput:
        """See ``Look``. Windows are added up in the area's own map: nothing else grows with it."""
        windows, progress = self.windows, self.windows.tiles.progress
        whole = aggregate([next(answers)]) if self.shows_whole else None
        together: Array = new_map(windows.size, np.float32)
        said, outlined = [], []
        for done, (answer, place) in enumerate(zip(answers, windows.places, strict=True), start=1):
            said.append(answer._replace(mask=None))
            outlined.append(self._add(answer, place, together))
            if progress:
                progress(done, len(windows.places))
        for rows in bands(together.shape):
            np.minimum(together[rows], 1, out=together[rows])  # weights are 1 together but for rounding
        return RegionOutput(
            probability=resized_map(together, windows.source),
            votes=whole or aggregate(said),
            outlined=aggregate(said, outlined),
            pixels=windows.seen_at_once,
            windows=len(windows.places),
        )

    def _add(self, answer: RawOutput, place: Place, together: Array) -> float:
        """Add a window's weighted map. What comes back is how many pixels it outlines, those it shares in part."""
        assert answer.mask is not None
        in_area, in_window = self.windows.inside(place)
        inside, weights = answer.mask[in_window], self.windows.weights(place)
        together[in_area] += weights * inside
        return float(weights[inside >= self.threshold].sum())
