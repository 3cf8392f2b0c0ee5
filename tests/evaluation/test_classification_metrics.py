"""Measures of the predicted class and of the ranking, against scikit-learn and cases done by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from bcdseg.evaluation.metrics import classification as ours
from bcdseg.evaluation.metrics.weighted import mean, quantile


def drawn(seed: int, scans: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities that are correlated with their labels; every class occurs, and some probabilities are equal."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(classes, size=scans - classes)])
    logits = np.round(random.normal(size=(scans, classes)) + np.eye(classes)[labels], 1)
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True), labels


def drawn_weights(seed: int, draws: int = 4, scans: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(scans, np.full(scans, 1 / scans), size=draws).astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_balanced_accuracy_is_scikit_learns(seed: int) -> None:
    probabilities, labels = drawn(seed)
    assert ours.balanced_accuracy(labels, probabilities) == pytest.approx(
        sk.balanced_accuracy_score(labels, probabilities.argmax(1))
    )


def test_balanced_accuracy_leaves_unknown_labels_out_and_is_nothing_without_any() -> None:
    probabilities, labels = drawn(0)
    some = np.where(np.arange(60) % 3 == 0, -1, labels)
    assert ours.balanced_accuracy(some, probabilities) == ours.balanced_accuracy(labels[some >= 0], probabilities[some >= 0])
    assert ours.balanced_accuracy(np.full(60, -1), probabilities) is None
    assert ours.balanced_accuracy(np.empty(0, int), np.empty((0, 3))) is None


def test_balanced_accuracy_weighs_classes_alike_and_counts_only_those_that_occur() -> None:
    always_second = np.tile([0.1, 0.8, 0.1], (10, 1))
    assert ours.balanced_accuracy([0] * 1 + [1] * 9, always_second) == 0.5
    assert ours.balanced_accuracy([1] * 10, always_second) == 1.0


WHOLE: list[tuple[Callable[[ours.Confusion], np.ndarray], Callable[..., float]]] = [
    (ours.accuracy, sk.accuracy_score),
    (ours.balanced, sk.balanced_accuracy_score),
    (ours.mcc, sk.matthews_corrcoef),
    (lambda table: ours.over_classes(ours.f1(table), table), lambda *a, **k: sk.f1_score(*a, average="macro", **k)),
    (
        lambda table: ours.over_classes(ours.precision(table), table),
        lambda *a, **k: sk.precision_score(*a, average="macro", zero_division=0, **k),
    ),
]


@pytest.mark.parametrize(("measure", "reference"), WHOLE)
@pytest.mark.parametrize("seed", range(3))
def test_measures_of_all_classes_are_scikit_learns_for_any_weights(
    measure: Callable[..., np.ndarray], reference: Callable[..., float], seed: int
) -> None:
    probabilities, labels = drawn(seed)
    called, weights = probabilities.argmax(axis=1), drawn_weights(seed)
    expected = [reference(labels, called, sample_weight=draw) for draw in weights]
    assert measure(ours.confusion(labels, called, 3, weights)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_measures_of_each_class_are_scikit_learns_for_any_weights(seed: int) -> None:
    probabilities, labels = drawn(seed)
    called, weights = probabilities.argmax(axis=1), drawn_weights(seed)
    table = ours.confusion(labels, called, 3, weights)
    for at, draw in enumerate(weights):
        assert table[at] == pytest.approx(sk.confusion_matrix(labels, called, sample_weight=draw))
        precision, recall, f1, _ = sk.precision_recall_fscore_support(labels, called, sample_weight=draw)
        assert ours.precision(table)[at] == pytest.approx(precision)
        assert ours.recall(table)[at] == pytest.approx(recall)
        assert ours.f1(table)[at] == pytest.approx(f1)
        for one in range(3):
            others_right = sk.recall_score(labels != one, called != one, sample_weight=draw)
            assert ours.specificity(table)[at, one] == pytest.approx(others_right)


def test_what_is_undefined_is_nan_and_raises_no_warning() -> None:
    only_first = ours.confusion(np.zeros(4, int), np.array([0, 0, 1, 0]), 3)
    assert np.isnan(ours.mcc(only_first)[0])
    assert np.isnan(ours.recall(only_first)[0, 1:]).all()
    assert np.isnan(ours.precision(only_first)[0, 2])
    assert np.isnan(ours.specificity(only_first)[0, 0])
    never_called = ours.confusion(np.array([0, 1]), np.array([0, 0]), 2)
    assert ours.f1(never_called)[0, 1] == 0
    assert ours.mcc(never_called)[0] == 0
    nothing = ours.confusion(np.array([-1, -1]), np.array([0, 1]), 2)
    assert np.isnan(ours.accuracy(nothing)[0])
    for measure in (ours.roc_auc, ours.average_precision):
        assert np.isnan(measure(np.array([True, True]), np.array([0.1, 0.2]))[0])
        assert np.isnan(measure(np.empty(0, bool), np.empty(0))[0])
    for fixed in (ours.sensitivity_at, ours.specificity_at):
        assert np.isnan(fixed(np.array([True, True]), np.array([0.1, 0.2]), 0.9)[0])


@pytest.mark.parametrize("seed", range(4))
def test_areas_are_scikit_learns_for_any_weights_and_ties(seed: int) -> None:
    probabilities, labels = drawn(seed)
    scores, positive, weights = probabilities[:, 2], labels == 2, drawn_weights(seed)
    for measure, reference in ((ours.roc_auc, sk.roc_auc_score), (ours.average_precision, sk.average_precision_score)):
        expected = [reference(positive, scores, sample_weight=draw) for draw in weights]
        assert measure(positive, scores, weights) == pytest.approx(expected)
    assert ours.roc_auc(positive, scores)[0] == pytest.approx(sk.roc_auc_score(positive, scores))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_fixed_points_are_the_best_of_scikit_learns_curve(seed: int, share: float) -> None:
    probabilities, labels = drawn(seed)
    false, true, _ = sk.roc_curve(labels == 2, probabilities[:, 2], drop_intermediate=False)
    found = ours.sensitivity_at(labels == 2, probabilities[:, 2], share)[0]
    assert found == pytest.approx(true[1 - false >= share - 1e-12].max())
    found = ours.specificity_at(labels == 2, probabilities[:, 2], share)[0]
    assert found == pytest.approx((1 - false)[true >= share - 1e-12].max())


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_turning_the_scores_around_mirrors_the_area(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    area, mirrored = ours.roc_auc(positive, scores)[0], ours.roc_auc(positive, -scores)[0]
    if positive.all() or not positive.any():
        assert np.isnan(area)
    else:
        assert area + mirrored == pytest.approx(1)
        assert area == pytest.approx(ours.roc_auc(positive, scores**3)[0])


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.floats(0, 1), st.integers(0, 1000))
def test_weighted_means_and_quantiles_are_those_of_repeated_values(values: list[float], share: float, seed: int) -> None:
    array = np.array(values)
    weights = np.random.default_rng(seed).integers(0, 3, size=(3, len(array))).astype(float)
    means, quantiles = mean(array, weights), quantile(array, weights, share)
    for at, draw in enumerate(weights):
        repeated = np.repeat(array, draw.astype(int))
        if len(repeated):
            assert means[at] == pytest.approx(repeated.mean(), abs=1e-9)
            assert quantiles[at] == pytest.approx(np.quantile(repeated, share), abs=1e-9)
        else:
            assert np.isnan(means[at])
            assert np.isnan(quantiles[at])
