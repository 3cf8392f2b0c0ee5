"""Size of a lesion, and the agreement of two measurements of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from bcdseg.evaluation.metrics.weighted import Values, Weights, divide, mean, once
from bcdseg.types import Mask, Spacing

LIMIT = 1.96  # standard deviations between the bias and a limit of agreement


class Size(NamedTuple):
    """The size of a lesion, in pixels or millimetres.

    Attributes:
        long_axis: Long axis of the ellipse with the lesion's second moments.
        area: Area.
    """

    long_axis: float
    area: float


class Agreement(NamedTuple):
    """The agreement of two measurements after Bland and Altman, one value per draw.

    Attributes:
        bias: Mean difference, predicted minus true.
        low: Lower limit of agreement.
        high: Upper limit of agreement.
    """

    bias: Values
    low: Values
    high: Values


def lesion_size(mask: Mask, *, spacing: Spacing | None = None) -> Size | None:
    """Return long axis and area of the largest region of a mask, measured as in ``Prediction.lesions``.

    The long axis is 4 times the square root of the largest eigenvalue of the covariance of the region's pixels.

    Empty masks: None, since there is nothing to measure.

    Args:
        mask: Mask of a scan.
        spacing: Millimetres per pixel, vertical and horizontal; without it, the size is in pixels.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    regions = regionprops(label(window, connectivity=2), spacing=spacing or (1.0, 1.0))
    largest = max(regions, key=lambda region: region.num_pixels)
    return Size(float(largest.axis_major_length), float(largest.area))


def bland_altman(y_true: NDArray[np.float64], y_pred: NDArray[np.float64], weights: Weights | None = None) -> Agreement:
    """Return bias and 95 % limits of agreement of predicted and true sizes.

    With the differences d = y_pred - y_true: bias = mean(d), limits = bias -/+ 1.96 SD(d), where SD has n - 1 in its divisor.

    Empty masks: a missed lesion has no predicted size, and a false lesion no true one. Leave such scans out; the measures of lesion
    detection count them. With fewer than two scans the limits are NaN.

    Reference: Bland and Altman, "Statistical methods for assessing agreement between two methods of clinical measurement",
    Lancet 1986.

    Examples:
        >>> found = bland_altman(np.array([10.0, 20.0, 30.0]), np.array([11.0, 20.0, 32.0]))
        >>> [round(float(value[0]), 2) for value in found]
        [1.0, -0.96, 2.96]
    """
    counts = once(len(y_true)) if weights is None else weights
    difference = y_pred - y_true
    bias = mean(difference, counts)
    squares = counts @ difference**2 - counts.sum(axis=1) * np.nan_to_num(bias) ** 2
    spread = np.sqrt(np.maximum(divide(squares, counts.sum(axis=1) - 1), 0))
    return Agreement(bias, bias - LIMIT * spread, bias + LIMIT * spread)
