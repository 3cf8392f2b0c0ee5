"""Predictive values, net benefit, recalibration and kappa, against scikit-learn, scipy and published examples."""

from __future__ import annotations

import numpy as np
import pytest
from made_cases import CLASSES, made_table
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from bcdseg.evaluation.measures.catalogue import MeasureOptions, all_measures
from bcdseg.evaluation.measures.intervals import estimate
from bcdseg.evaluation.metrics.calibration import calibration_intercept, calibration_slope
from bcdseg.evaluation.metrics.classification import confusion, kappa
from bcdseg.evaluation.metrics.clinical import net_benefit, net_benefit_of_all, number_needed_to_biopsy, predictive_values
from bcdseg.inference.rules import OperatingPoint, Rules


def drawn(scans: int = 400, seed: int = 0, slope: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes, and probabilities that are calibrated when ``slope`` is 1 and ``shift`` is 0."""
    random = np.random.default_rng(seed)
    score = random.normal(0, 1.5, scans)
    return random.random(scans) < expit(slope * score + shift), expit(score)


def weights_of(scans: int, draws: int = 3) -> np.ndarray:
    return np.random.default_rng(1).multinomial(scans, np.full(scans, 1 / scans), size=draws).astype(float)


def test_predictive_values_are_those_of_the_published_example() -> None:
    # Altman and Bland, BMJ 1994: liver scans; sensitivity 231 of 258, specificity 54 of 86, prevalence 258 of 344 and 0.25
    sensitivity, specificity = np.array([231 / 258]), np.array([54 / 86])
    here = predictive_values(sensitivity, specificity, 258 / 344)
    assert (here.positive[0], here.negative[0]) == (pytest.approx(231 / 263), pytest.approx(54 / 81))
    rare = predictive_values(sensitivity, specificity, 0.25)
    assert (round(float(rare.positive[0]), 2), round(float(rare.negative[0]), 2)) == (0.45, 0.95)


def test_predictive_values_without_such_results_are_undefined() -> None:
    none_positive = predictive_values(np.array([0.0]), np.array([1.0]), 0.1)
    assert np.isnan(none_positive.positive[0])
    assert none_positive.negative[0] == pytest.approx(0.9)
    assert np.isnan(number_needed_to_biopsy(none_positive.positive)[0])
    assert np.isnan(number_needed_to_biopsy(np.array([0.0]))[0])
    assert number_needed_to_biopsy(np.array([0.25]))[0] == 4


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.5])
def test_net_benefit_is_that_of_scikit_learns_confusion_matrix(threshold: float) -> None:
    truth, probability = drawn()
    weights = weights_of(len(truth))
    expected = []
    for draw in weights:
        (_, false), (_, true) = sk.confusion_matrix(truth, probability >= threshold, sample_weight=draw)
        expected.append(true / draw.sum() - false / draw.sum() * threshold / (1 - threshold))
    assert net_benefit(truth, probability, threshold, weights) == pytest.approx(expected)
    here = net_benefit(truth, probability, threshold)
    assert net_benefit(truth, probability, threshold, prevalence=float(truth.mean())) == pytest.approx(here)
    everyone = net_benefit(truth, np.ones(len(truth)), threshold)
    assert everyone[0] == pytest.approx(net_benefit_of_all(float(truth.mean()), threshold))
    assert net_benefit(truth, np.zeros(len(truth)), threshold)[0] == 0


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.5, 0.0), (2.0, -1.0)])
def test_the_calibration_slope_is_scikit_learns_logistic_regression(slope: float, shift: float) -> None:
    truth, probability = drawn(slope=slope, shift=shift)
    weights = weights_of(len(truth))
    found = calibration_slope(truth, probability, weights)
    for at, draw in enumerate(weights):
        fitted = LogisticRegression(C=np.inf, tol=1e-8).fit(logit(probability)[:, None], truth, sample_weight=draw)
        assert found[at] == pytest.approx(fitted.coef_[0, 0], rel=1e-4)
    assert calibration_slope(truth, probability)[0] == pytest.approx(slope, abs=0.35 * slope)


def test_the_calibration_intercept_is_the_maximum_of_the_likelihood() -> None:
    truth, probability = drawn(shift=0.7)
    score = logit(probability)
    best = minimize(lambda a: -np.log(np.where(truth, expit(a + score), 1 - expit(a + score))).sum(), 0.0)
    assert calibration_intercept(truth, probability)[0] == pytest.approx(best.x[0], abs=1e-4)
    assert abs(calibration_intercept(*drawn(4000))[0]) < 0.15


def test_recalibration_without_a_fit_is_undefined() -> None:
    separated = np.array([True, True, False, False]), np.array([0.9, 0.8, 0.3, 0.2])
    assert np.isnan(calibration_slope(*separated)[0])
    assert np.isfinite(calibration_intercept(*separated)[0])
    for metric in (calibration_slope, calibration_intercept):
        assert np.isnan(metric(np.ones(4, bool), np.full(4, 0.7))[0])
        assert np.isnan(metric(np.empty(0, bool), np.empty(0))[0])
    certain = calibration_intercept(np.array([True, False, True]), np.array([1.0, 0.0, 0.5]))
    assert np.isfinite(certain[0])


@pytest.mark.parametrize("penalty", ["none", "linear", "quadratic"])
def test_kappa_is_scikit_learns(penalty: str) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 200)
    predicted = np.clip(truth + random.integers(-1, 2, 200), 0, 3)
    weights = weights_of(200)
    named = None if penalty == "none" else penalty
    expected = [sk.cohen_kappa_score(truth, predicted, weights=named, sample_weight=draw) for draw in weights]
    assert kappa(confusion(truth, predicted, 4, weights), penalty=penalty) == pytest.approx(expected)
    assert np.isnan(kappa(confusion(np.zeros(3, int), np.zeros(3, int), 2), penalty=penalty)[0])


def test_clinical_measures_of_a_table() -> None:
    cases = made_table(300, skill=1.5)
    point = OperatingPoint(name="sensitivity 0.9", positive="malignant", threshold=0.2, scans=50)
    rules = Rules(operating_points=(point,))
    options = MeasureOptions(prevalences=(0.05,), class_order=CLASSES, rules=rules)
    measures = all_measures(cases, options)
    found = estimate(cases, measures, draws=0)
    truth, called = cases.labels == 2, cases.predicted == 2
    assert found["ppv"].value == pytest.approx(sk.precision_score(truth, called))
    assert found["npv"].value == pytest.approx(sk.precision_score(~truth, ~called))
    assert found["number_needed_to_biopsy"].value == pytest.approx(1 / sk.precision_score(truth, called))
    positive = cases.probabilities[:, 2] >= 0.2
    assert found["ppv/sensitivity 0.9"].value == pytest.approx(sk.precision_score(truth, positive))
    sensitivity, specificity = sk.recall_score(truth, positive), sk.recall_score(~truth, ~positive)
    expected = 0.05 * sensitivity / (0.05 * sensitivity + 0.95 * (1 - specificity))
    assert found["ppv/sensitivity 0.9@0.05"].value == pytest.approx(expected)
    assert found["kappa_quadratic"].value == pytest.approx(sk.cohen_kappa_score(cases.labels, cases.predicted, weights="quadratic"))
    assert found["net_benefit_0.10@0.05"].value is not None
    reverse = all_measures(cases, MeasureOptions(class_order=CLASSES[::-1]))
    again = estimate(cases, [one for one in reverse if one.name == "kappa_quadratic"], draws=0)
    assert again["kappa_quadratic"].value == pytest.approx(found["kappa_quadratic"].value)
    assert not any(name.startswith("kappa_") for name in estimate(cases, all_measures(cases), draws=0))


def test_equal_probabilities_have_no_calibration_slope() -> None:
    truth, weights = np.array([True, False] * 3), np.array([[1.0, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    assert np.isnan(calibration_slope(truth, np.full(6, 0.3))).all()
    found = calibration_slope(truth, np.array([0.3, 0.3, 0.2, 0.4, 0.4, 0.2]), weights)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])
