"""Classification metrics, and ranking metrics over all thresholds, as pure functions of arrays.

Functions with weights (see ``metrics/weighted.py``) return one value for each draw, NaN where it is undefined. They are tested
against scikit-learn, which measures one draw at a time. A scan is predicted positive when its score is at or above the threshold,
so scans of equal score are always predicted alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcdseg.evaluation.metrics.weighted import Values, Weights, divide, once

UNKNOWN = -1
Labels = NDArray[np.int64]
Confusion = NDArray[np.float64]
"""Array of draws x true classes x predicted classes: number of scans."""


def balanced_accuracy(y_true: ArrayLike, y_prob: ArrayLike) -> float | None:
    """Return the mean recall of the classes that occur among the labels.

    Args:
        y_true: Index of the true class of each scan, -1 where it is unknown.
        y_prob: Array of scans x classes; the predicted class has the largest probability, the first of equals.

    Returns:
        The balanced accuracy, None when no label is known.
    """
    probabilities = np.asarray(y_prob, dtype=np.float64)
    truth = np.asarray(y_true, dtype=np.int64)
    if not (truth != UNKNOWN).any():
        return None
    return float(balanced(confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1]))[0])


def confusion(y_true: Labels, y_pred: Labels, classes: int, weights: Weights | None = None) -> Confusion:
    """Return the confusion matrix: scans of each true (rows) and predicted class (columns); scans without either are ignored."""
    known = (y_true != UNKNOWN) & (y_pred != UNKNOWN)
    counts = once(len(y_true)) if weights is None else weights
    cells = np.eye(classes * classes)[y_true[known] * classes + y_pred[known]]
    table: Confusion = (counts[:, known] @ cells).reshape(len(counts), classes, classes)
    return table


def accuracy(table: Confusion) -> Values:
    """Return the fraction of the scans whose class is predicted correctly."""
    return divide(_right(table).sum(axis=1), table.sum(axis=(1, 2)))


def recall(table: Confusion) -> Values:
    """Return the recall as draws x classes: the fraction of a class's scans predicted as it, NaN where the class doesn't occur."""
    return divide(_right(table), table.sum(axis=2))


def precision(table: Confusion) -> Values:
    """Return the precision as draws x classes: the fraction of scans predicted as a class that is of it, NaN without any."""
    return divide(_right(table), table.sum(axis=1))


def specificity(table: Confusion) -> Values:
    """Return the specificity as draws x classes: the fraction of other classes' scans not predicted as this one.

    It is NaN where only this class occurs.
    """
    others = table.sum(axis=(1, 2))[:, None] - table.sum(axis=2)
    return divide(others - (table.sum(axis=1) - _right(table)), others)


def f1(table: Confusion) -> Values:
    """Return the F1 score as draws x classes: the harmonic mean of precision and recall.

    It is 0 when a class that occurs is never predicted.
    """
    return divide(2 * _right(table), table.sum(axis=1) + table.sum(axis=2))


def balanced(table: Confusion) -> Values:
    """Return the mean recall of the classes that occur."""
    return over_classes(recall(table), table)


def over_classes(of_class: Values, table: Confusion) -> Values:
    """Return the mean over the classes that occur.

    A class that occurs and has no value, such as the precision of a class that is never predicted, counts as 0.
    """
    occurs = table.sum(axis=2) > 0
    return divide(np.where(occurs, np.nan_to_num(of_class), 0.0).sum(axis=1), occurs.sum(axis=1).astype(np.float64))


def mcc(table: Confusion) -> Values:
    """Return the Matthews correlation of predicted and true class: 1 when all are correct, 0 at chance level.

    It is 0 when all scans are predicted as one class, as in scikit-learn, and NaN where only one class occurs.
    """
    total, right = table.sum(axis=(1, 2)), _right(table).sum(axis=1)
    true, predicted = table.sum(axis=2), table.sum(axis=1)
    spread_true = total**2 - (true**2).sum(axis=1)
    spread_predicted = total**2 - (predicted**2).sum(axis=1)
    above = right * total - (true * predicted).sum(axis=1)
    found = np.nan_to_num(divide(above, np.sqrt(spread_true * spread_predicted)))
    return np.where(spread_true > 0, found, np.nan)


def kappa(table: Confusion, *, penalty: str = "none") -> Values:
    """Return Cohen's kappa of predicted and true class: 1 when all are correct, 0 at chance level.

    With the observed fractions O, those expected by chance E and the disagreement w of each pair of classes:
    kappa = 1 - sum(w O) / sum(w E). Without a penalty, w is 1 for any two different classes. For ordered classes, such as BI-RADS
    categories, it is |i - j| (``"linear"``) or (i - j)^2 (``"quadratic"``).

    It is NaN where only one class occurs, among both true and predicted classes.

    Args:
        table: Confusion matrices, with the classes in their order.
        penalty: ``"none"``, ``"linear"`` or ``"quadratic"``.

    Examples:
        >>> kappa(np.array([[[8.0, 2.0], [2.0, 8.0]]])).round(2).tolist()
        [0.6]
    """
    number = np.arange(table.shape[1])
    apart = np.abs(number[:, None] - number)
    disagreement = {"none": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[penalty]
    total = table.sum(axis=(1, 2))
    by_chance = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :]
    return 1 - divide((disagreement * table).sum(axis=(1, 2)) * total, (disagreement * by_chance).sum(axis=(1, 2)))


def _right(table: Confusion) -> Values:
    right: Values = np.diagonal(table, axis1=1, axis2=2)
    return right


def joint_score(*, lesion_dice: Sequence[float], normal_clean: Sequence[bool], balanced_accuracy: float | None) -> float:
    """Return the mean of a mask score and a class score, each from 0 to 1.

    The mask score is the mean over all scans whose mask is known. A scan with a lesion counts its Dice (0 when the lesion is
    missed); a scan without one counts 1 when the predicted mask is empty and 0 otherwise. The class score is the balanced accuracy.
    A task without known truth is left out; without both the score is NaN.

    Args:
        lesion_dice: Dice of each scan that has a lesion.
        normal_clean: Whether the predicted mask is empty, for each scan with an empty true mask.
        balanced_accuracy: Mean recall of the classes, None when no label is known.
    """
    scans = [*map(float, lesion_dice), *map(float, normal_clean)]
    scores = [float(np.mean(scans))] if scans else []
    scores += [] if balanced_accuracy is None else [balanced_accuracy]
    return float(np.mean(scores)) if scores else float("nan")


Scores = NDArray[np.float64]
Positive = NDArray[np.bool_]


class Steps(NamedTuple):
    """The counts of scans predicted positive at each threshold, from none to all.

    Attributes:
        thresholds: Distinct scores in falling order, after one that is above all scores.
        right: True positives as draws x thresholds.
        wrong: False positives as draws x thresholds.
    """

    thresholds: Scores
    right: Weights
    wrong: Weights

    @property
    def sensitivity(self) -> Weights:
        """Fraction of the positive scans at or above each threshold."""
        return divide(self.right, self.right[:, -1:])

    @property
    def specificity(self) -> Weights:
        """Fraction of the other scans below each threshold."""
        return 1 - divide(self.wrong, self.wrong[:, -1:])

    @property
    def precision(self) -> Weights:
        """Fraction of the scans at or above each threshold that is positive; 1 where there are no such scans."""
        return np.where(self.right + self.wrong > 0, divide(self.right, self.right + self.wrong), 1.0)


def steps(y_true: Positive, y_score: Scores, weights: Weights | None = None) -> Steps:
    """Count the positive and the other scans at or above every threshold.

    Args:
        y_true: Whether each scan is positive.
        y_score: Score of each scan.
        weights: How often each scan counts in each draw; by default once.
    """
    counts = once(len(y_score)) if weights is None else weights
    order = np.argsort(-y_score, kind="stable")
    ends = np.flatnonzero(np.diff(y_score[order], append=-np.inf))
    right, wrong = (
        np.pad(np.cumsum(counts[:, order] * chosen[order], axis=1)[:, ends], ((0, 0), (1, 0))) for chosen in (y_true, ~y_true)
    )
    return Steps(np.concatenate(([np.inf], y_score[order][ends])), right, wrong)


def roc_auc(y_true: Positive, y_score: Scores, weights: Weights | None = None) -> Values:
    """Return the area under the ROC curve: the probability that a positive scan scores above another one; a tie counts half.

    Examples:
        >>> roc_auc(np.array([True, True, False]), np.array([0.9, 0.4, 0.4])).tolist()
        [0.75]
    """
    at = steps(y_true, y_score, weights)
    area = (np.diff(at.wrong) * (at.right[:, 1:] + at.right[:, :-1]) / 2).sum(axis=1)
    return divide(area, at.right[:, -1] * at.wrong[:, -1])


def average_precision(y_true: Positive, y_score: Scores, weights: Weights | None = None) -> Values:
    """Return the area under the precision-recall curve in steps: the mean precision at each positive scan.

    At chance level it is the fraction of positive scans.
    """
    at = steps(y_true, y_score, weights)
    area = (np.diff(at.right) * at.precision[:, 1:]).sum(axis=1)
    return np.where(at.wrong[:, -1] > 0, divide(area, at.right[:, -1]), np.nan)


def sensitivity_at(y_true: Positive, y_score: Scores, specificity: float, weights: Weights | None = None) -> Values:
    """Return the highest sensitivity of all thresholds that reach a specificity."""
    at = steps(y_true, y_score, weights)
    return _best(at.sensitivity, at.specificity >= specificity - 1e-12)


def specificity_at(y_true: Positive, y_score: Scores, sensitivity: float, weights: Weights | None = None) -> Values:
    """Return the highest specificity of all thresholds that reach a sensitivity."""
    at = steps(y_true, y_score, weights)
    return _best(at.specificity, at.sensitivity >= sensitivity - 1e-12)


def _best(values: Weights, allowed: NDArray[np.bool_]) -> Values:
    """Return the largest allowed value of each draw; NaN where sensitivity or specificity is undefined."""
    best: Values = np.where(allowed, values, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)
