"""Sliding-window inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.data.images import to_gray
from bcdseg.data.preprocessing import Prepared, Preprocessing
from bcdseg.errors import OptionError
from bcdseg.inference.regions import RegionOutput, bands, new_map, resized_map
from bcdseg.runtimes.base import Array, RawOutput, aggregate
from bcdseg.types import Mask, Pixels

SHARPNESS = 8  # a window's side over the standard deviation of its weights, as in MONAI
EDGE, EDGE_WEIGHT = 32, 1e-6  # margin (a 32nd of the side) that counts only where no other window is
LARGEST_SCALE = 8.0
MOST_OVERLAP = 0.9


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Settings of the sliding window, whose windows have the size of the network input.

    Attributes:
        scale: Factor of a resize before the windows are cut: 1 is native resolution, at 0.5 each window covers twice the length.
        overlap: Fraction of a window's side that overlaps the next window. Higher is smoother and slower.
        progress: Callback after each window, with the number of completed windows of the scan and their total. With many scans
            it may be called from several threads.
    """

    scale: float = 1.0
    overlap: float = 0.25
    progress: Callable[[int, int], object] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("overlap", self.overlap)):
            if isinstance(value, bool) or not isinstance(value, Real):
                raise OptionError(f"{name}={value!r} of tiles is not possible: give a number.")
        if not 1 / LARGEST_SCALE**2 <= self.scale <= LARGEST_SCALE:
            raise OptionError(f"scale={self.scale!r} of tiles is not possible: choose from 1/64 to 8; 1 is the scan as it is.")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise OptionError(f"overlap={self.overlap!r} of tiles is not possible: choose a fraction from 0 to {MOST_OVERLAP}.")


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
    def source_size(self) -> tuple[int, int]:
        """Height and width of the scan."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the resized scan."""
        return max(1, round(self.source_size[0] * self.tiles.scale)), max(1, round(self.source_size[1] * self.tiles.scale))

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Start positions and weights of the windows, vertical and horizontal."""
        (height, width), frame = self.size, self.preprocessing.frame
        return cut_axis(height, frame[0], self.tiles.overlap), cut_axis(width, frame[1], self.tiles.overlap)

    @cached_property
    def places(self) -> list[Place]:
        """Windows that the network processes; at least one."""
        down, across = (range(len(axis.starts)) for axis in self.axes)
        textured = np.array([[self._is_textured((row, column)) for column in across] for row in down])
        return [(int(row), int(column)) for row, column in np.argwhere(~background(textured))] or [(0, 0)]

    @property
    def pixels_per_window(self) -> float:
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
        in_scan, in_window = self.inside(place)
        source = self._source_window(in_scan)
        part = self.pixels[source]
        part = to_gray(part) if self.preprocessing.channels == 1 else part
        planes = [part] if part.ndim == 2 else [part[..., channel] for channel in range(part.shape[2])]
        cut = np.zeros((*self.preprocessing.frame, len(planes)), part.dtype)
        for channel, plane in enumerate(planes):
            cut[in_window][..., channel] = self._resampled(plane, source, in_scan)
        return self.preprocessing.normalised(cut[..., 0] if len(planes) == 1 else cut)

    @property
    def _steps(self) -> tuple[float, float]:
        """Pixels of the scan per pixel of the resized scan, vertical and horizontal."""
        return self.source_size[0] / self.size[0], self.source_size[1] / self.size[1]

    def _is_textured(self, place: Place) -> bool:
        part = self.pixels[self._source_window(self.inside(place)[0])]
        return float(part.max()) - float(part.min()) > FLAT * (255 if part.dtype == np.uint8 else 1)

    def _source_window(self, window: Window) -> Window:
        """Return the pixels of the scan that a window depends on, including the neighbours used in smoothing."""
        return _before_resizing(window[0], self._steps[0]), _before_resizing(window[1], self._steps[1])

    def _resampled(self, plane: Pixels, source: Window, window: Window) -> Pixels:
        if self.size == self.source_size:
            return plane
        edges = [
            (part.start * step - under.start, min(part.stop * step, under.stop) - under.start)
            for part, under, step in zip(window, source, self._steps, strict=True)
        ]
        (top, bottom), (left, right) = edges
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        picture = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom)))


def background(textured: Mask) -> Mask:
    """Return which windows the network can skip: empty ones that are connected to an edge of the scan through empty windows.

    An empty window in the middle of a scan may be the inside of a lesion, so the network processes it.
    """
    from scipy.ndimage import label  # takes a tenth of a second, which only large scans need

    numbers, _ = label(~textured)
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
    The weighted sum of the windows' maps is the only array that grows with the region.
    """

    def __init__(
        self, source: str, pixels: Pixels, preprocessing: Preprocessing, tiles: Tiles, *, threshold: float, has_classes: bool
    ) -> None:
        self.source = source
        self.windows = Windows(pixels, preprocessing, tiles)
        self.threshold = threshold
        self.includes_whole = has_classes and preprocessing.resize != "none"
        self.count = len(self.windows.places) + self.includes_whole
        self.shape: tuple[int, ...] = (preprocessing.channels, *preprocessing.frame)
        self._sum: Array = new_map(self.windows.size, np.float32)
        self._of_whole: RawOutput | None = None
        self._of_windows: list[RawOutput] = []  # without their masks
        self._outlined_pixels: list[float] = []  # of each window; pixels that windows share count by weight

    @cached_property
    def prepared(self) -> Prepared:
        """The whole region as one input."""
        return self.windows.preprocessing(self.windows.pixels)

    def input(self, index: int) -> Array:
        """Return the whole region, which comes first where it is used, or cut a window."""
        if self.includes_whole and index == 0:
            return self.prepared.array
        return self.windows.cut(self.windows.places[index - self.includes_whole])

    def add(self, output: RawOutput) -> None:
        """Keep the class scores of an input, and add the weighted map of a window to the sum."""
        if self.includes_whole and self._of_whole is None:
            self._of_whole = output._replace(mask=None)
            return
        place = self.windows.places[len(self._of_windows)]
        in_region, in_window = self.windows.inside(place)
        weights = self.windows.weights(place)
        assert output.mask is not None
        probability = output.mask[in_window]
        self._sum[in_region] += weights * probability
        self._outlined_pixels.append(float(weights[probability >= self.threshold].sum()))
        self._of_windows.append(output._replace(mask=None))
        if self.windows.tiles.progress:
            self.windows.tiles.progress(len(self._of_windows), len(self.windows.places))

    def result(self) -> RegionOutput:
        """Return the output of the region, with the map at the region's own size."""
        for rows in bands(self._sum.shape):
            np.minimum(self._sum[rows], 1, out=self._sum[rows])  # weights sum to 1 except for rounding
        return RegionOutput(
            probability=resized_map(self._sum, self.windows.source_size),
            scores=aggregate(self._of_windows if self._of_whole is None else [self._of_whole]),
            outlined_scores=aggregate(self._of_windows, self._outlined_pixels),
            pixels=self.windows.pixels_per_window,
            windows=len(self.windows.places),
        )
