"""Tests and pooled estimates: DeLong's test of two areas under the ROC curve, Holm's correction, random-effects meta-analysis.

E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44 (1988), for scans that are independent, and N. A. Obuchowski,
Biometrics 53 (1997), for several scans of one patient. Where each group has one scan, both are the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm, rankdata, t

from bcdseg.evaluation.metrics.classification import Positive, Scores

Numbers = NDArray[np.float64]
Groups = NDArray[np.int64]
ROUNDED = 1e-9  # standard error up to which it is 0, because of rounding


class PairedAuc(NamedTuple):
    """The difference of two areas under the ROC curve on the same scans.

    Attributes:
        first: Area of the first score.
        second: Area of the second score.
        difference: Second minus first.
        se: Standard error of the difference.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        p: Two-sided p-value.
    """

    first: float
    second: float
    difference: float
    se: float
    low: float
    high: float
    p: float


def paired_auc(y_true: Positive, first: Scores, second: Scores, groups: Groups | None = None) -> PairedAuc | None:
    """Compare the areas under the ROC curve of two scores on the same scans.

    Args:
        y_true: Whether each scan is positive.
        first: First score of each scan.
        second: Second score of each scan.
        groups: Number of the patient or group of copies of each scan; without it all scans are independent.

    Returns:
        The difference with its test, or None where there are fewer than two groups with positive or with other scans, or where the
        difference of the areas has no variance, as that of two scores that rank all scans right.

    Examples:
        >>> truth = np.array([True, True, True, False, False, False])
        >>> found = paired_auc(truth, np.array([3.0, 1, 4, 2, 1, 0]), np.array([1.0, 2, 3, 1, 4, 0]))
        >>> round(found.difference, 3)
        -0.222
    """
    units = np.arange(len(y_true)) if groups is None else groups
    if min(len(np.unique(units[y_true])), len(np.unique(units[~y_true]))) < 2:
        return None
    areas, covariance = auc_covariance(y_true, np.stack([first, second]), units)
    change = float(areas[1] - areas[0])
    se = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    if se <= ROUNDED:
        return None
    p = float(2 * norm.sf(abs(change) / se))
    reach = float(norm.ppf(0.975)) * se
    return PairedAuc(float(areas[0]), float(areas[1]), change, se, max(change - reach, -1.0), min(change + reach, 1.0), p)


def auc_covariance(y_true: Positive, scores: Numbers, groups: Groups) -> tuple[Numbers, Numbers]:
    """Return the areas under the ROC curve of several scores, and the covariance of the areas.

    The placement of a positive scan is the fraction of the other scans that score lower, that of another scan the fraction of the
    positive ones that score higher; a tie counts half. The areas are the means of the placements, and their covariance is that of
    the sums of placements within groups.

    Args:
        y_true: Whether each scan is positive.
        scores: Array of scores x scans.
        groups: Number of the group of each scan.
    """
    positive, other = _placements(y_true, scores), 1 - _placements(~y_true, scores)
    areas: Numbers = positive.mean(axis=1)
    unit = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sums = [
        _sums(values - areas[:, None], unit[chosen], unit.max() + 1) for values, chosen in ((positive, y_true), (other, ~y_true))
    ]
    counts = [np.bincount(unit[chosen], minlength=unit.max() + 1) > 0 for chosen in (y_true, ~y_true)]
    (of_positive, of_other), (with_positive, with_other) = sums, [int(count.sum()) for count in counts]
    many, few = int(y_true.sum()), int((~y_true).sum())
    within = with_positive / (with_positive - 1) * of_positive @ of_positive.T / many**2
    within = within + with_other / (with_other - 1) * of_other @ of_other.T / few**2
    every = unit.max() + 1
    across = every / (every - 1) * of_positive @ of_other.T / (many * few)
    return areas, within + across + across.T


def holm(p_values: NDArray[np.float64]) -> Numbers:
    """Return p-values that are corrected for their number after Holm: the chance of any false finding among them stays 5 %.

    Examples:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _placements(chosen: Positive, scores: Numbers) -> Numbers:
    """Return, for each chosen scan, the fraction of the others that score lower."""
    among = rankdata(scores[:, chosen], axis=1)
    overall = rankdata(scores, axis=1)[:, chosen]
    placements: Numbers = (overall - among) / int((~chosen).sum())
    return placements


def _sums(values: Numbers, units: Groups, count: int) -> Numbers:
    """Return the sum of each row's values within each unit."""
    return np.stack([np.bincount(units, weights=row, minlength=count) for row in values])


class Pooled(NamedTuple):
    """A measure over several data sets.

    Attributes:
        value: Mean over the data sets, each weighted by 1 / (its variance + ``tau2``).
        low: Lower end of the 95 % interval of the mean.
        high: Upper end of the 95 % interval of the mean.
        next_low: Lower end of the 95 % prediction interval: of the value on one more data set; None for fewer than three.
        next_high: Upper end of the prediction interval.
        tau2: Variance between the data sets.
        i2: Fraction of the variance that is between the data sets.
        q: Cochran's Q.
        p: Probability of such a Q or a larger one without any difference between the data sets.
    """

    value: float
    low: float
    high: float
    next_low: float | None
    next_high: float | None
    tau2: float
    i2: float
    q: float
    p: float


def random_effects(values: ArrayLike, standard_errors: ArrayLike) -> Pooled:
    """Return the pooled value of two or more data sets and their heterogeneity, after DerSimonian and Laird.

    With v the squared standard errors, w = 1 / v and m = sum(w x) / sum(w): Q = sum(w (x - m)^2),
    tau^2 = max(0, (Q - (k - 1)) / (sum(w) - sum(w^2) / sum(w))), I^2 = max(0, (Q - (k - 1)) / Q). The value is the mean of x with
    the weights 1 / (v + tau^2). The prediction interval uses Student's t with k - 2 degrees of freedom.

    A data set without a value or with a standard error of 0 has no weight: leave it out.

    References: DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 1986; Higgins, Thompson and
    Spiegelhalter, "A re-evaluation of random-effects meta-analysis", JRSS A 2009.

    Args:
        values: Value on each data set.
        standard_errors: Standard error of each value, above 0.
    """
    x, variance = np.asarray(values, np.float64), np.asarray(standard_errors, np.float64) ** 2
    sets, weight = len(x), 1 / variance
    fixed = (weight * x).sum() / weight.sum()
    q = float((weight * (x - fixed) ** 2).sum())
    surplus = max(0.0, q - (sets - 1))
    tau2 = surplus / float(weight.sum() - (weight**2).sum() / weight.sum())
    weight = 1 / (variance + tau2)
    value, error = float((weight * x).sum() / weight.sum()), float(1 / np.sqrt(weight.sum()))
    reach = float(norm.ppf(0.975)) * error
    ahead = float(t.ppf(0.975, sets - 2)) * float(np.sqrt(tau2 + error**2)) if sets > 2 else None
    return Pooled(
        value=value,
        low=value - reach,
        high=value + reach,
        next_low=None if ahead is None else value - ahead,
        next_high=None if ahead is None else value + ahead,
        tau2=tau2,
        i2=surplus / q if q else 0.0,
        q=q,
        p=float(chi2.sf(q, sets - 1)),
    )
