"""Calibration and selective prediction, against scikit-learn, torchmetrics and cases done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from bcdseg.errors import InputError
from bcdseg.evaluation.metrics import calibration as ours


def drawn(seed: int = 0, scans: int = 400, sharp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits whose softmax is calibrated when ``sharp`` is 1, and labels drawn from it."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, size=(scans, 3))
    labels = np.array([random.choice(3, p=row) for row in softmax(logits, axis=1)])
    return logits * sharp, labels


def test_brier_and_likelihood_are_scikit_learns() -> None:
    logits, labels = drawn()
    shares = softmax(logits, axis=1)
    weights = np.random.default_rng(0).integers(0, 3, size=(2, len(labels))).astype(float)
    expected = [sk.log_loss(labels, shares, sample_weight=draw) for draw in weights]
    assert ours.negative_log_likelihood(labels, shares, weights) == pytest.approx(expected)
    binary = shares[:, :2] / shares[:, :2].sum(axis=1, keepdims=True)
    keep = labels < 2
    twice = 2 * sk.brier_score_loss(labels[keep], binary[keep, 1])  # scikit-learn counts one of two classes
    assert ours.brier(labels[keep], binary[keep])[0] == pytest.approx(twice)


def test_calibration_error_is_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    for sharp in (0.5, 1.0, 3.0):
        logits, labels = drawn(sharp=sharp)
        shares = softmax(logits, axis=1)
        expected = multiclass_calibration_error(torch.from_numpy(shares), torch.from_numpy(labels), num_classes=3, n_bins=15)
        found = ours.calibration_error(shares.argmax(axis=1) == labels, shares.max(axis=1))
        assert found[0] == pytest.approx(float(expected), abs=1e-6)


def test_calibration_error_done_by_hand() -> None:
    probability, came_true = np.array([0.95, 0.95, 0.55, 0.55, 0.0, 1.0]), np.array([True, False, True, True, False, True])
    # 0.9-1 contains three of mean 0.9667, two true; 0.5-0.6 two of 0.55, both true; 0-0.1 one of 0, not true
    expected = (abs(0.95 * 2 + 1 - 2) + abs(0.55 * 2 - 2) + 0) / 6
    assert ours.calibration_error(came_true, probability, bins=10)[0] == pytest.approx(expected)
    bins = ours.reliability(came_true, probability, bins=10)
    assert [one.n for one in bins] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 3]
    assert (bins[1].probability, bins[1].fraction) == (None, None)
    assert (bins[5].probability, bins[5].fraction) == (pytest.approx(0.55), 1.0)


@pytest.mark.parametrize("sharp", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_how_much_too_sharp_the_logits_are(sharp: float) -> None:
    logits, labels = drawn(scans=3000, sharp=sharp)
    temperature = ours.fit_temperature(logits, labels)
    assert temperature == pytest.approx(sharp, rel=0.08)
    fitted, before = (ours.negative_log_likelihood(labels, softmax(logits / by, axis=1))[0] for by in (temperature, 1))
    assert fitted <= before + 1e-9


def test_the_temperature_is_bounded_whatever_the_set() -> None:
    right = np.eye(3)[[0, 1, 2, 0]] * 20
    assert 0.1 <= ours.fit_temperature(right, [0, 1, 2, 0]) <= 1.01  # all right: no call for less confidence
    assert 0.3 < ours.fit_temperature(np.eye(3)[[0, 1]], [0, 1]) < 1  # two scans determine little
    assert 5 < ours.fit_temperature(right, [1, 2, 0, 1]) <= 10  # all wrong
    assert ours.fit_temperature(right, [-1] * 4) == 1
    assert ours.fit_temperature(np.empty((0, 3)), []) == 1
    assert ours.fit_temperature(right[:2], [0, -1]) == ours.fit_temperature(right[:1], [0])
    with pytest.raises(InputError, match="NaN"):
        ours.fit_temperature([[np.nan, 1]], [0])


def test_risk_against_coverage_done_by_hand() -> None:
    confidence, right = np.array([0.9, 0.8, 0.7, 0.7]), np.array([True, False, True, False])
    coverage, risk = ours.risk_coverage(right, confidence)
    assert coverage[0] == pytest.approx([0.25, 0.5, 1])  # the last two have one confidence
    assert risk[0] == pytest.approx([0, 0.5, 0.5])
    assert ours.area_under_risk(right, confidence)[0] == pytest.approx(0.25 * 0 + 0.25 * 0.5 + 0.5 * 0.5)


def test_the_area_under_risk_is_small_when_errors_have_low_confidence() -> None:
    random = np.random.default_rng(0)
    right = random.random(1000) < 0.7
    knowing = ours.area_under_risk(right, right + random.random(1000) * 0.1)[0]
    blind = ours.area_under_risk(right, random.random(1000))[0]
    wrong = ours.area_under_risk(right, ~right + random.random(1000) * 0.1)[0]
    assert knowing < 0.07 < blind == pytest.approx(0.3, abs=0.05)
    assert wrong > 0.5
    assert ours.area_under_risk(np.ones(1000, bool), random.random(1000))[0] == 0
    assert np.isnan(ours.area_under_risk(np.empty(0, bool), np.empty(0))[0])
