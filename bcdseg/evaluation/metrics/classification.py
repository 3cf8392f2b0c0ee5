"""Classification metrics: pure functions over arrays.

They take weights (``weights.py``) and give one value for each draw, NaN where it is undefined; scikit-learn, which measures one
draw at a time, is what they are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcdseg.evaluation.measures.measure import Values, Weights, divide, once

UNKNOWN = -1
Labels = NDArray[np.int64]
Confusion = NDArray[np.float64]
"""Draws x true classes x called classes: how many scans."""


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
    if not (truth != UNKNOWN).any():
        return None
    return float(balanced(confusion(truth, held.argmax(axis=1), held.shape[1]))[0])


def confusion(labels: Labels, called: Labels, classes: int, weights: Weights | None = None) -> Confusion:
    """How many scans of each class (rows) are called each class (columns); scans without either are left out."""
    known = (labels != UNKNOWN) & (called != UNKNOWN)
    counts = once(len(labels)) if weights is None else weights
    cells = np.eye(classes * classes)[labels[known] * classes + called[known]]
    table: Confusion = (counts[:, known] @ cells).reshape(len(counts), classes, classes)
    return table


def accuracy(table: Confusion) -> Values:
    """The share of all scans that is called right."""
    return divide(_right(table).sum(axis=1), table.sum(axis=(1, 2)))


def recall(table: Confusion) -> Values:
    """Draws x classes: of the scans of a class, the share called so. NaN where the class doesn't occur."""
    return divide(_right(table), table.sum(axis=2))


def precision(table: Confusion) -> Values:
    """Draws x classes: of the scans called a class, the share that is. NaN where nothing is called so."""
    return divide(_right(table), table.sum(axis=1))


def specificity(table: Confusion) -> Values:
    """Draws x classes: of the scans of other classes, the share not called this one. NaN where only this class occurs."""
    others = table.sum(axis=(1, 2))[:, None] - table.sum(axis=2)
    return divide(others - (table.sum(axis=1) - _right(table)), others)


def f1(table: Confusion) -> Values:
    """Draws x classes: harmonic mean of precision and recall, 0 when a class that occurs is never called."""
    return divide(2 * _right(table), table.sum(axis=1) + table.sum(axis=2))


def balanced(table: Confusion) -> Values:
    """The mean recall of the classes that occur."""
    return over_classes(recall(table), table)


def over_classes(of_class: Values, table: Confusion) -> Values:
    """The mean over the classes that occur; one that occurs and has no value, as the precision of one never called, counts as 0."""
    occurs = table.sum(axis=2) > 0
    return divide(np.where(occurs, np.nan_to_num(of_class), 0.0).sum(axis=1), occurs.sum(axis=1).astype(np.float64))


def mcc(table: Confusion) -> Values:
    """Matthews' correlation of called and true class: 1 always right, 0 no better than chance.

    0 when all scans are called alike, as in scikit-learn; NaN where only one class occurs.
    """
    total, right = table.sum(axis=(1, 2)), _right(table).sum(axis=1)
    true, called = table.sum(axis=2), table.sum(axis=1)
    spread_true = total**2 - (true**2).sum(axis=1)
    spread_called = total**2 - (called**2).sum(axis=1)
    above = right * total - (true * called).sum(axis=1)
    found = np.nan_to_num(divide(above, np.sqrt(spread_true * spread_called)))
    return np.where(spread_true > 0, found, np.nan)


def _right(table: Confusion) -> Values:
    right: Values = np.diagonal(table, axis1=1, axis2=2)
    return right


def joint_score(*, lesion_dice: Sequence[float], normal_clean: Sequence[bool], balanced_accuracy: float | None) -> float:
    """The mean of a mask score and a class score, each from 0 to 1.

    The mask score is the mean over all scans whose mask is known: of a scan with a lesion its Dice (0 when the lesion is missed),
    of a scan without one 1 when nothing is outlined and 0 when something is. The class score is the balanced accuracy.
    A task of which nothing is known is left out; with neither the score is NaN.

    Args:
        lesion_dice: Dice of each scan that has a lesion.
        normal_clean: Of each scan with an empty mask, whether nothing is outlined.
        balanced_accuracy: Mean over the classes of the share that is called right, None when no label is known.
    """
    scans = [*map(float, lesion_dice), *map(float, normal_clean)]
    scores = [float(np.mean(scans))] if scans else []
    scores += [] if balanced_accuracy is None else [balanced_accuracy]
    return float(np.mean(scores)) if scores else float("nan")
