"""Measures of the called class against the truth: pure functions over arrays. A label of -1 is unknown and left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

UNKNOWN = -1


def balanced_accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float | None:
    """The mean, over the classes that occur among the labels, of the share of their scans that is called right.

    Args:
        probabilities: Scans x classes; the largest is the class that is called, the first of equals.
        labels: The number of the true class of each scan, -1 where it is unknown.

    Returns:
        None when no label is known.
    """
    held = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    known = truth != UNKNOWN
    if not known.any():
        return None
    truth, right = truth[known], held[known].argmax(axis=1) == truth[known]
    counts = np.bincount(truth)
    present = counts > 0
    return float((np.bincount(truth, weights=right)[present] / counts[present]).mean())
