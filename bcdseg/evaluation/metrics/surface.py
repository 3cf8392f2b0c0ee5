"""Surface distances in pixels or millimetres.

The outline of a mask is the set of its pixels that have a neighbour above, below, left or right outside of the mask; everything
beyond the border of the image is outside. Distances are those from the centre of each outline pixel to the nearest centre of the
other outline.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bcdseg.types import Mask, Spacing

TOLERANCE = 0.0075  # fraction of the image's diagonal, as in the boundary F1 of Csurka et al. 2013
ROUNDING = 1e-9  # a distance that equals the tolerance is within it, but 3 * 0.1 mm - 2 * 0.1 mm is above 0.1 mm in floating point
SQUARE: Spacing = (1.0, 1.0)

Distances = NDArray[np.float64]


class Surface(NamedTuple):
    """The distances between two outlines.

    Attributes:
        hd95: 95th percentile of the distances from one outline to the other, the larger of both directions.
        assd: Mean of the distances in both directions together.
        boundary_f1: Harmonic mean of the fractions of both outlines that are within the tolerance of the other.
        surface_dice: Fraction of both outlines together that is within the tolerance of the other: the normalised surface Dice
            (NSD) of Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", J Med Internet Res 2021.
    """

    hd95: float
    assd: float
    boundary_f1: float
    surface_dice: float


def diagonal(size: tuple[int, int], spacing: Spacing = SQUARE) -> float:
    """Return the length of an image's diagonal, the largest possible distance of two outlines in it."""
    return math.hypot(size[0] * spacing[0], size[1] * spacing[1])


def surface(y_true: Mask, y_pred: Mask, *, spacing: Spacing | None = None, tolerance: float | None = None) -> Surface:
    """Return HD95, average symmetric surface distance, boundary F1 and normalised surface Dice of two masks.

    Empty masks: when both are empty, distances are 0 and the other two are 1. When one is, which is a missed or a false lesion,
    both distances are the image's diagonal and the other two are 0. No scan is left out.

    Args:
        y_true: True mask.
        y_pred: Predicted mask, of the same size.
        spacing: Millimetres per pixel, vertical and horizontal; without it, distances are in pixels.
        tolerance: Largest distance at which outlines agree, in the same unit as the distances.
            By default 0.75 % of the image's diagonal: 2.7 pixels of 256 x 256.

    Examples:
        >>> square = np.zeros((8, 8), bool)
        >>> square[2:5, 2:5] = True
        >>> surface(square, np.roll(square, 1, axis=1), tolerance=0.0).surface_dice
        0.5
    """
    scale = spacing or SQUARE
    across = diagonal(y_true.shape, scale)
    distances = _distances(y_true, y_pred, scale)
    if distances is None:
        same = not y_pred.any() and not y_true.any()
        return Surface(0.0, 0.0, 1.0, 1.0) if same else Surface(across, across, 0.0, 0.0)
    from_truth, from_prediction = distances
    near = (TOLERANCE * across if tolerance is None else tolerance) + ROUNDING
    close_truth, close_prediction = from_truth <= near, from_prediction <= near
    precision, recall = float(close_prediction.mean()), float(close_truth.mean())
    pixels = len(from_truth) + len(from_prediction)
    return Surface(
        hd95=float(max(np.percentile(from_truth, 95), np.percentile(from_prediction, 95))),
        assd=float((from_truth.sum() + from_prediction.sum()) / pixels),
        boundary_f1=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        surface_dice=float((close_truth.sum() + close_prediction.sum()) / pixels),
    )


def _distances(y_true: Mask, y_pred: Mask, scale: Spacing) -> tuple[Distances, Distances] | None:
    """Return the distances of each outline's pixels to the other outline: from the truth, from the prediction.

    It is None when one mask is empty. A k-d tree of the outlines' pixels is exact, as a distance transform is, and many times
    faster on a large image.
    """
    one, other = _outline(y_true), _outline(y_pred)
    if not len(one) or not len(other):
        return None
    from_one, from_other = one * scale, other * scale
    return KDTree(from_other).query(from_one)[0], KDTree(from_one).query(from_other)[0]


def _outline(mask: Mask) -> NDArray[np.int64]:
    """Return row and column of each pixel of a mask's outline."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.empty((0, 2), np.int64)
    box = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    inside = box[:-2, 1:-1] & box[2:, 1:-1] & box[1:-1, :-2] & box[1:-1, 2:]
    pixels: NDArray[np.int64] = np.argwhere(box[1:-1, 1:-1] & ~inside) + np.array((rows[0], columns[0]))
    return pixels
