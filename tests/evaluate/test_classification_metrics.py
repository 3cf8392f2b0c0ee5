"""Measures of the called class, against scikit-learn and cases done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from bcdseg.evaluate.classification import balanced_accuracy


def drawn(seed: int, scans: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that know something of their labels; every class occurs."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(classes, size=scans - classes)])
    logits = random.normal(size=(scans, classes)) + np.eye(classes)[labels]
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("seed", range(5))
def test_balanced_accuracy_is_scikit_learns(seed: int) -> None:
    probabilities, labels = drawn(seed)
    assert balanced_accuracy(probabilities, labels) == pytest.approx(sk.balanced_accuracy_score(labels, probabilities.argmax(1)))


def test_balanced_accuracy_leaves_unknown_labels_out_and_is_nothing_without_any() -> None:
    probabilities, labels = drawn(0)
    some = np.where(np.arange(60) % 3 == 0, -1, labels)
    assert balanced_accuracy(probabilities, some) == balanced_accuracy(probabilities[some >= 0], labels[some >= 0])
    assert balanced_accuracy(probabilities, np.full(60, -1)) is None
    assert balanced_accuracy(np.empty((0, 3)), np.empty(0, int)) is None


def test_balanced_accuracy_weighs_classes_alike_and_counts_only_those_that_occur() -> None:
    always_second = np.tile([0.1, 0.8, 0.1], (10, 1))
    assert balanced_accuracy(always_second, [0] * 1 + [1] * 9) == 0.5
    assert balanced_accuracy(always_second, [1] * 10) == 1.0
