"""How a large scan is cut into windows, and how much each window counts at each pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import OptionError
from bcdseg.infer.answers import Array

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
    count = 1 + math.ceil((length - window) / step)
    return _weighted(length, window, tuple(int(start) for start in np.linspace(0, length - window, count).round()))


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
