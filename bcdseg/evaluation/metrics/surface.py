"""Surface distances in pixels or millimetres.

The outline of a mask is its pixels that have a neighbour above, below, left or right outside of the mask; what lies beyond the
border of the image is outside. Distances go from the middle of each outline pixel to the nearest middle of the other outline.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bcdseg.types import Mask, Spacing

TOLERANCE = 0.0075  # of the image's diagonal, as of the boundary F1 of Csurka et al. 2013
SQUARE: Spacing = (1.0, 1.0)

Distances = NDArray[np.float64]


class Surface(NamedTuple):
    """How far two outlines lie apart.

    Attributes:
        hd95: 95th percentile of the distances from one outline to the other, the larger of both ways.
        assd: Mean of the distances both ways together.
        boundary_f1: Harmonic mean of the shares of both outlines that lie within the tolerance of the other.
    """

    hd95: float
    assd: float
    boundary_f1: float


def diagonal(size: tuple[int, int], spacing: Spacing = SQUARE) -> float:
    """Length of an image's diagonal: no two outlines in it are farther apart."""
    return math.hypot(size[0] * spacing[0], size[1] * spacing[1])


def surface(predicted: Mask, truth: Mask, *, spacing: Spacing | None = None, tolerance: float | None = None) -> Surface:
    """HD95, average symmetric surface distance and boundary F1 of two masks.

    Empty masks: both empty agree: distances 0, boundary F1 1. One empty is a missed or an invented lesion: both distances are
    the image's diagonal, boundary F1 0. A scan is never dropped.

    Args:
        predicted: The mask to judge.
        truth: The true mask, of the same size.
        spacing: Millimetres per pixel, down and across; distances are in pixels without it.
        tolerance: Largest distance at which outlines agree in the boundary F1, in the same unit as the distances.
            By default 0.75 % of the image's diagonal: 2.7 pixels of 256 x 256.
    """
    scale = spacing or SQUARE
    across = diagonal(predicted.shape, scale)
    ways = _distances(predicted, truth, scale)
    if ways is None:
        same = not predicted.any() and not truth.any()
        return Surface(0.0, 0.0, 1.0) if same else Surface(across, across, 0.0)
    there, back = ways
    near = TOLERANCE * across if tolerance is None else tolerance
    precision, recall = float((there <= near).mean()), float((back <= near).mean())
    return Surface(
        hd95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        assd=float((there.sum() + back.sum()) / (len(there) + len(back))),
        boundary_f1=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    )


def hd95(predicted: Mask, truth: Mask, *, spacing: Spacing | None = None) -> float:
    """95th percentile of the distances from one outline to the other, the larger of both ways.

    Empty masks: both empty agree, 0. One empty is a missed or an invented lesion: the image's diagonal.
    """
    return surface(predicted, truth, spacing=spacing).hd95


def average_surface_distance(predicted: Mask, truth: Mask, *, spacing: Spacing | None = None) -> float:
    """Mean distance from each outline to the other, both ways together.

    Empty masks: both empty agree, 0. One empty is a missed or an invented lesion: the image's diagonal.
    """
    return surface(predicted, truth, spacing=spacing).assd


def boundary_f1(predicted: Mask, truth: Mask, *, spacing: Spacing | None = None, tolerance: float | None = None) -> float:
    """Harmonic mean of the shares of both outlines that lie within a tolerance of the other: 0.75 % of the diagonal by default.

    Empty masks: both empty agree, 1. One empty is a missed or an invented lesion, 0.
    """
    return surface(predicted, truth, spacing=spacing, tolerance=tolerance).boundary_f1


def _distances(predicted: Mask, truth: Mask, scale: Spacing) -> tuple[Distances, Distances] | None:
    """From each pixel of the predicted outline to the true one, and back; None when one of the masks is empty.

    A tree of the outlines' pixels is exact, as a distance transform is, and many times faster than one of a large image.
    """
    one, other = _outline(predicted), _outline(truth)
    if not len(one) or not len(other):
        return None
    from_one, from_other = one * scale, other * scale
    return KDTree(from_other).query(from_one)[0], KDTree(from_one).query(from_other)[0]


def _outline(mask: Mask) -> NDArray[np.int64]:
    """Row and column of each pixel of a mask's outline."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.empty((0, 2), np.int64)
    box = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    inside = box[:-2, 1:-1] & box[2:, 1:-1] & box[1:-1, :-2] & box[1:-1, 2:]
    pixels: NDArray[np.int64] = np.argwhere(box[1:-1, 1:-1] & ~inside) + np.array((rows[0], columns[0]))
    return pixels
