"""Agreement of several readers, and differences between readers that generalise to other readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from bcdseg.evaluation.metrics.weighted import Values, Weights, divide, once
from bcdseg.types import Mask

Numbers = NDArray[np.float64]
ROUNDED = 1e-18  # variance up to which it is 0, because of rounding


class RandomReaders(NamedTuple):
    """The mean difference over readers, where both readers and scans are samples of those that could have been taken.

    Attributes:
        difference: Mean over the readers.
        se: Standard error over readers and scans.
        df: Degrees of freedom after Hillis.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        p: Two-sided p-value.
    """

    difference: float
    se: float
    df: float
    low: float
    high: float
    p: float


def majority(masks: Sequence[Mask]) -> Mask:
    """Return the pixels that more than half of the masks contain; half of them is not enough.

    Examples:
        >>> majority([np.array([True, True]), np.array([True, False])]).tolist()
        [True, False]
    """
    votes = np.sum([mask.astype(np.int64) for mask in masks], axis=0)
    return np.asarray(2 * votes > len(masks))


def fleiss_kappa(votes: Numbers, weights: Weights | None = None) -> Values:
    """Return Fleiss' kappa of several readers: 1 when all agree on every scan, 0 at chance level.

    Each reader's class counts as one vote. Observed agreement is the mean over the scans of the fraction of pairs of readers that
    agree, chance agreement the sum of the squared fractions of votes for each class. Scans with fewer than two votes are ignored.
    It is NaN where all votes are for one class.

    Args:
        votes: Array of scans x classes: number of readers that chose each class.
        weights: How often each scan counts in each draw; by default once.

    Examples:
        >>> fleiss_kappa(np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [1.0, 1.0]])).round(3).tolist()
        [0.0]
    """
    counts = once(len(votes)) if weights is None else weights
    total = votes.sum(axis=1)
    read = total > 1
    votes, total, counts = votes[read], total[read], counts[:, read]
    agreeing = (votes * (votes - 1)).sum(axis=1) / (total * (total - 1))
    observed = divide(counts @ agreeing, counts.sum(axis=1))
    fractions = divide(counts @ votes, (counts @ total)[:, None])
    chance = (fractions**2).sum(axis=1)
    return 1 - divide(1 - observed, 1 - chance)


def random_readers(differences: Numbers, covariance: Numbers) -> RandomReaders | None:
    """Return the mean difference over readers, after Obuchowski and Rockette, with the degrees of freedom of Hillis.

    The differences may be those between two ways of reading, or between each reader and a model. Their variance has two parts: that
    between the readers, and the covariance between different readers, because they read the same scans.

    Args:
        differences: Difference of each reader, for two or more readers.
        covariance: Covariance of the differences over samples of scans, as readers x readers.

    Returns:
        The mean with its interval, or None where the estimated variance is 0: the readers differ alike, and on different scans. Two
        readers who gain by one scan each are an example; their gain is not certain.

    N. A. Obuchowski and H. E. Rockette, Communications in Statistics 24 (1995); S. L. Hillis, Statistics in Medicine 26 (2007).
    """
    readers = len(differences)
    mean = float(differences.mean())
    between = float(differences.var(ddof=1))
    shared = float((covariance.sum() - np.trace(covariance)) / (readers * (readers - 1)))
    total = between + readers * max(shared, 0.0)
    if total <= ROUNDED:
        return None
    df = total**2 / (between**2 / (readers - 1)) if between > 0 else math.inf
    se = math.sqrt(total / readers)
    reach = float(t.ppf(0.975, df)) * se
    return RandomReaders(mean, se, df, mean - reach, mean + reach, float(2 * t.sf(abs(mean) / se, df)))
