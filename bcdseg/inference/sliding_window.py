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
EDGE, EDGE_WEIGHT = 32, 1e-6  # margin (a 32nd of the side) that counts only where no other window is
LARGEST_SCALE = 8.0
MOST_OVERLAP = 0.9


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Settings of the sliding window, whose windows have the size of the network input.

    Attributes:
        scale: Factor by which the scan is resized first: 1 is native resolution, at 0.5 each window covers twice the length.
        overlap: Fraction of a window's side that overlaps the next window. Higher is smoother and slower.
        progress: Callback after each window, with the number of completed windows of the scan and their total. With many scans
            it may be called from several threads.
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
    """Start positions and weights of the windows along one side of a scan.

    Attributes:
        length: Length of the side in pixels.
        starts: Start of each window; negative where the side is shorter than a window.
        weights: Weights, windows x pixels of a window. At each pixel of the side they sum to 1 over the windows.
    """

    length: int
    starts: tuple[int, ...]
    weights: Array

    def inside(self, window: int) -> tuple[slice, slice]:
        """Return the part of a window that is inside the scan: its slice of the scan, and its slice of the window."""
        start = self.starts[window]
        low, high = max(0, start), min(self.length, start + self.weights.shape[1])
        return slice(low, high), slice(low - start, high - start)


def cut_axis(length: int, window: int, overlap: float) -> Axis:
    """Return evenly spaced windows along a side, as many as the overlap requires."""
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
    """Return a Gaussian, close to 0 at the edges: raw outputs there depend on pixels outside of the window."""
    middle = (window - 1) / 2
    bell: NDArray[np.float64] = np.exp(-0.5 * ((np.arange(window) - middle) / (window / SHARPNESS)) ** 2)
    edge = window // EDGE
    bell[:edge] *= EDGE_WEIGHT
    bell[window - edge :] *= EDGE_WEIGHT
    return bell


FLAT = 4 / 255  # range of intensities up to which a window is empty

Place = tuple[int, int]
"""Row and column of a window in the grid of windows."""

Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Windows:
    """Grid of windows of the network's input size over a scan that is resized by a factor.

    Attributes:
        pixels: Pixels of the scan.
        preprocessing: Preprocessing of the model.
        tiles: Settings of the sliding window.
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
        """Start positions and weights of the windows, vertical and horizontal."""
        (height, width), frame = self.size, self.preprocessing.frame
        return cut_axis(height, frame[0], self.tiles.overlap), cut_axis(width, frame[1], self.tiles.overlap)

    @cached_property
    def places(self) -> list[Place]:
        """Windows that the network processes; at least one."""
        down, across = (range(len(axis.starts)) for axis in self.axes)
        shows = np.array([[self._shows_something((row, column)) for column in across] for row in down])
        return [(int(row), int(column)) for row, column in np.argwhere(~background(shows))] or [(0, 0)]

    @property
    def seen_at_once(self) -> float:
        """Number of the scan's pixels that a window covers."""
        (height, width), (down, across) = self.preprocessing.frame, self._steps
        return height * down * width * across

    def inside(self, place: Place) -> tuple[Window, Window]:
        """Return the part of a window that is inside the scan: its slices of the resized scan, and of the window."""
        (rows, in_rows), (columns, in_columns) = (axis.inside(at) for axis, at in zip(self.axes, place, strict=True))
        return (rows, columns), (in_rows, in_columns)

    def weights(self, place: Place) -> Array:
        """Return the weights of a window at its pixels inside the scan."""
        (down, across), (_, (rows, columns)) = self.axes, self.inside(place)
        counts: Array = np.outer(down.weights[place[0], rows], across.weights[place[1], columns])
        return counts

    def cut(self, place: Place) -> Array:
        """Return a window as network input, padded with black where the scan is smaller."""
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
        """Pixels of the scan per pixel of the resized scan, vertical and horizontal."""
        return self.source[0] / self.size[0], self.source[1] / self.size[1]

    def _shows_something(self, place: Place) -> bool:
        part = self.pixels[self._beneath(self.inside(place)[0])]
        return float(part.max()) - float(part.min()) > FLAT * (255 if part.dtype == np.uint8 else 1)

    def _beneath(self, window: Window) -> Window:
        """Return the pixels of the scan that a window depends on, including the neighbours used in smoothing."""
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
    """Return which windows the network can skip: empty ones that are connected to an edge of the scan through empty windows.

    An empty window in the middle of a scan may be the inside of a lesion, so the network processes it.
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
    """Region as windows of the network's input size, preceded by the whole region for the classes.

    A network that processes scans at native size has no downscaled whole region: its class scores are from the windows alone.
    """

    def __init__(self, pixels: Pixels, preprocessing: Preprocessing, tiles: Tiles, *, threshold: float, has_classes: bool) -> None:
        self.windows = Windows(pixels, preprocessing, tiles)
        self.threshold = threshold
        self.shows_whole = has_classes and preprocessing.resize != "none"

    @property
    def count(self) -> int:
        """Number of inputs: windows, plus one for the whole region."""
        return len(self.windows.places) + self.shows_whole

    @cached_property
    def prepared(self) -> Prepared:
        """The whole region as one input."""
        return self.windows.preprocessing(self.windows.pixels)

    def inputs(self) -> Iterator[Array]:
        """Yield the whole region where it is used, then the windows."""
        if self.shows_whole:
            yield self.prepared.array
        yield from map(self.windows.cut, self.windows.places)

    def take(self, answers: Iterator[RawOutput]) -> RegionOutput:
        """Combine the raw outputs to the output of the region; the sum of the windows is the only array that grows with it."""
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
            np.minimum(together[rows], 1, out=together[rows])  # weights sum to 1 except for rounding
        return RegionOutput(
            probability=resized_map(together, windows.source),
            votes=whole or aggregate(said),
            outlined=aggregate(said, outlined),
            pixels=windows.seen_at_once,
            windows=len(windows.places),
        )

    def _add(self, answer: RawOutput, place: Place, together: Array) -> float:
        """Add the weighted map of a window; return its number of outlined pixels, with shared pixels counted by weight."""
        assert answer.mask is not None
        in_area, in_window = self.windows.inside(place)
        inside, weights = answer.mask[in_window], self.windows.weights(place)
        together[in_area] += weights * inside
        return float(weights[inside >= self.threshold].sum())
