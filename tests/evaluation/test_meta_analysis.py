"""Random-effects meta-analysis, against a published example."""

from __future__ import annotations

import numpy as np
import pytest

from bcdseg.evaluation.metrics.statistics import random_effects

# The BCG vaccine trials of Colditz et al. 1994, as in R's metafor (dat.bcg): cases and others, vaccinated and not.
BCG = np.array(
    [
        (4, 119, 11, 128),
        (6, 300, 29, 274),
        (3, 228, 11, 209),
        (62, 13536, 248, 12619),
        (33, 5036, 47, 5761),
        (180, 1361, 372, 1079),
        (8, 2537, 10, 619),
        (505, 87886, 499, 87892),
        (29, 7470, 45, 7232),
        (17, 1699, 65, 1600),
        (186, 50448, 141, 27197),
        (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    float,
)


def test_the_bcg_trials_are_pooled_as_in_metafor() -> None:
    cases, others, controls, rest = BCG.T
    ratio = np.log(cases / (cases + others)) - np.log(controls / (controls + rest))
    variance = 1 / cases - 1 / (cases + others) + 1 / controls - 1 / (controls + rest)
    found = random_effects(ratio, np.sqrt(variance))
    # rma(yi, vi, data=dat, method="DL")
    assert found.value == pytest.approx(-0.7141, abs=5e-5)
    assert (found.low, found.high) == (pytest.approx(-1.0644, abs=5e-5), pytest.approx(-0.3638, abs=5e-5))
    assert found.tau2 == pytest.approx(0.3088, abs=5e-5)
    assert found.i2 == pytest.approx(0.9212, abs=5e-5)
    assert found.q == pytest.approx(152.2330, abs=5e-5)
    assert found.p < 1e-4


def test_equal_values_have_no_heterogeneity() -> None:
    found = random_effects([0.8, 0.8, 0.8], [0.1, 0.2, 0.1])
    assert (found.value, found.tau2, found.i2, found.q) == (pytest.approx(0.8), 0, 0, pytest.approx(0))
    assert found.p == pytest.approx(1)
    assert found.next_low is not None
    assert found.next_low < found.low
    assert random_effects([0.7, 0.9], [0.05, 0.05]).next_low is None
