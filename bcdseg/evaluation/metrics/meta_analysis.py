"""Random-effects meta-analysis of one measure over several data sets, and its heterogeneity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2, norm, t


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
