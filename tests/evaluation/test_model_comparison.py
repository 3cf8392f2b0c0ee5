"""Two models on the same scans: DeLong's test against a published example and plain loops, and models of different classes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import busi, save
from made_cases import made_table
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import bcdseg
from bcdseg import Dataset
from bcdseg.cli import app
from bcdseg.errors import DataWarning
from bcdseg.evaluation.external_predictions import ExternalPrediction
from bcdseg.evaluation.metrics.statistics import auc_covariance, holm, paired_auc
from bcdseg.evaluation.model_comparison import narrowed

OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""
"""Albumin, total protein, K-G score and outcome of 43 patients, from DeLong, DeLong and Clarke-Pearson (1988)."""


def test_delong_gives_the_figures_of_the_published_example() -> None:
    # Areas, standard errors and chi-square as SAS states them for this example (SAS/STAT user's guide, PROC LOGISTIC).
    albumin, protein, score, outcome = np.array(OVARIAN.split(), np.float64).reshape(-1, 4).T
    areas, covariance = auc_covariance(outcome == 1, np.stack([albumin, 10 - score, protein]), np.arange(43))
    assert areas == pytest.approx([0.7366, 0.7258, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0927, 0.1028, 0.1000], abs=5e-5)
    contrast = np.array([[1.0, -1, 0], [0, -1, 1]])
    change = contrast @ areas
    assert change @ np.linalg.inv(contrast @ covariance @ contrast.T) @ change == pytest.approx(2.5340, abs=5e-5)


@pytest.mark.parametrize("per_group", [1, 3])
def test_the_covariance_is_that_of_plain_loops(per_group: int) -> None:
    random = np.random.default_rng(per_group)
    truth, scores = random.uniform(size=60) < 0.4, random.integers(0, 8, (2, 60)).astype(np.float64)
    groups = np.arange(60) // per_group
    areas, covariance = auc_covariance(truth, scores, groups)
    assert areas == pytest.approx([roc_auc_score(truth, one) for one in scores])
    positive, other = np.flatnonzero(truth), np.flatnonzero(~truth)

    def wins(score: np.ndarray, i: int, j: int) -> float:
        return 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0

    expected = np.zeros((2, 2))
    parts = []
    for score, area in zip(scores, areas, strict=True):
        of_positive, of_other = {}, {}
        for group in set(groups):
            of_positive[group] = sum(np.mean([wins(score, i, j) for j in other]) - area for i in positive if groups[i] == group)
            of_other[group] = sum(np.mean([wins(score, i, j) for i in positive]) - area for j in other if groups[j] == group)
        parts.append((of_positive, of_other))
    with_positive, with_other, every = len(set(groups[positive])), len(set(groups[other])), len(set(groups))
    m, n = len(positive), len(other)
    for a in range(2):
        for b in range(2):
            tens = sum(parts[a][0][g] * parts[b][0][g] for g in set(groups)) * with_positive / (with_positive - 1)
            ones = sum(parts[a][1][g] * parts[b][1][g] for g in set(groups)) * with_other / (with_other - 1)
            mixed = (
                sum(parts[a][0][g] * parts[b][1][g] + parts[a][1][g] * parts[b][0][g] for g in set(groups)) * every / (every - 1)
            )
            expected[a, b] = tens / m**2 + ones / n**2 + mixed / (m * n)
    assert covariance == pytest.approx(expected)


def test_a_difference_without_variance_and_too_few_groups_have_no_test() -> None:
    truth, score = np.array([True, True, False, False]), np.array([0.9, 0.4, 0.5, 0.1])
    assert paired_auc(truth, score, 1 - score) is not None
    assert paired_auc(truth, score, 1 - score, np.array([0, 0, 1, 2])) is None
    for first, second in ((score, score), (truth / 1, np.full(4, 0.5)), (truth / 1, np.array([0.9, 0.8, 0.2, 0.1]))):
        assert paired_auc(truth, first, second) is None


def test_holm_corrects_for_the_number_of_tests() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).tolist() == []


def test_a_narrowed_table_has_the_probabilities_among_its_classes() -> None:
    cases = made_table(60)
    two = narrowed(cases, ("benign", "malignant"))
    at = [cases.classes.index(name) for name in two.classes]
    pair = cases.probabilities[:, at]
    assert two.probabilities == pytest.approx(pair / pair.sum(axis=1, keepdims=True))
    assert [two.label(row) for row in range(60)] == [name if name in two.classes else None for name in map(cases.label, range(60))]
    assert two.no_lesion is None
    assert narrowed(cases, ("benign",)).classes == ()


def predictions(scans: Dataset, classes: tuple[str, ...], skill: float) -> dict[str, ExternalPrediction]:
    random = np.random.default_rng(len(classes))
    found = {}
    for one in scans:
        scores = random.uniform(size=len(classes)) + skill * np.array([name == one.label for name in classes])
        found[one.id] = ExternalPrediction(None, dict(zip(classes, (scores / scores.sum()).tolist(), strict=True)))
    return found


def test_models_of_different_classes_are_compared_on_those_that_both_have(tmp_path: Path) -> None:
    scans = bcdseg.open_dataset(busi(tmp_path, (12, 30, 30)))
    two = scans.select([one.id for one in scans if one.label != "normal"])
    quiet = {"draws": 200, "gallery": 0, "progress": False}
    three = bcdseg.evaluate_predictions(predictions(scans, ("normal", "benign", "malignant"), 0.3), scans, name="three", **quiet)
    both = bcdseg.evaluate_predictions(predictions(two, ("benign", "malignant"), 1.0), two, name="two", **quiet)
    found = both.compare(three)
    assert (found.shared, found.scans) == (("benign", "malignant"), 60)
    assert found.differences["accuracy"].second == both["accuracy"].value
    assert found.differences["roc_auc/malignant"].second == both["roc_auc/malignant"].value
    test = found.auc_tests["malignant"]
    assert test.result.difference == pytest.approx(found.differences["roc_auc/malignant"].difference.value)
    assert test.p_holm == test.result.p  # one test needs no correction
    assert "on the classes that both have: benign, malignant (60 scans)" in repr(found)
    guess = bcdseg.evaluate_predictions(predictions(two, ("benign", "malignant"), 0.0), two, name="guess", **quiet)
    assert "p < 0.001, after Holm p < 0.001" in repr(guess.compare(both))
    page = both.save(tmp_path / "report", compared_with=[three, replace(both, model="same")]).read_text()
    assert "They are compared on those that both have: benign, malignant (60 scans)." in page
    assert "DeLong" in page
    assert "test can&#x27;t be computed for malignant: the difference has no variance" in page
    same = replace(three, model="same").compare(three)
    assert same.shared == ()
    assert same.auc_tests == {}
    assert set(same.not_tested) == {"normal", "benign", "malignant"}
    assert "benign against rest, DeLong: no test: the difference has no variance" in repr(same)


def test_models_whose_classes_differ_in_order_are_compared_in_all_measures(tmp_path: Path) -> None:
    scans = bcdseg.open_dataset(busi(tmp_path, (10, 10, 10)))
    order = ("normal", "benign", "malignant")

    def own(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return float(np.mean(y_true * y_pred))

    first = predictions(scans, order, 0.5)
    turned = {
        one: ExternalPrediction(None, {name: (found.probabilities or {})[name] for name in reversed(order)})
        for one, found in first.items()
    }
    options = {
        "metrics": [bcdseg.Metric(own, inputs="classes")],
        "prevalence": 0.05,
        "class_order": order,
        "draws": 20,
        "gallery": 0,
        "progress": False,
    }
    a = bcdseg.evaluate_predictions(first, scans, name="a", **options)
    b = bcdseg.evaluate_predictions(turned, scans, name="b", **options)
    assert a.cases.classes == b.cases.classes[::-1]
    found = a.compare(b)
    assert found.differences.keys() == a.estimates.keys()
    assert {"own", "ppv@0.05"} <= found.differences.keys()
    assert all(one.difference.value in (None, pytest.approx(0)) for one in found.differences.values())
    assert found.differences["own"].first == a["own"].value
    assert set(found.not_tested) == set(order)
    readers = bcdseg.compare_readers({"x": a, "y": a}, {"x": b, "y": b}, draws=100)
    assert readers.differences["accuracy"].difference.value == pytest.approx(0)


def test_models_whose_classes_differ_in_case_are_compared_in_all_measures(tmp_path: Path) -> None:
    scans = bcdseg.open_dataset(busi(tmp_path, (10, 10, 10)))
    upper = scans.map_labels({"malignant": "Malignant", "normal": "Normal"})
    options = {"prevalence": 0.05, "draws": 20, "gallery": 0, "progress": False}
    a = bcdseg.evaluate_predictions(predictions(scans, ("normal", "benign", "malignant"), 0.5), scans, name="a", **options)
    b = bcdseg.evaluate_predictions(predictions(upper, ("benign", "Malignant", "Normal"), 0.5), upper, name="b", **options)
    with pytest.warns(DataWarning, match="b: spellings of classes of a: 'Malignant' is 'malignant', 'Normal' is 'normal'"):
        found = a.compare(b)
    assert found.shared == ()
    assert found.differences.keys() == a.estimates.keys() >= {"roc_auc/malignant", "ppv@0.05"}
    assert found.differences["roc_auc/malignant"].first == b["roc_auc/Malignant"].value
    assert set(found.auc_tests) == {"normal", "benign", "malignant"}
    with pytest.warns(DataWarning, match="b: spellings of classes of a"):
        readers = bcdseg.compare_readers({"x": a, "y": a}, {"x": b, "y": b}, draws=100)
    assert readers.differences.keys() == found.differences.keys()


def test_surface_dice_of_different_tolerances_is_not_compared(tmp_path: Path) -> None:
    root = busi(tmp_path / "data", (2, 2, 2))
    found = bcdseg.open_dataset(root)
    scans = replace(found, samples=tuple(replace(one, spacing=(0.5, 0.5)) for one in found))
    given = {one.id: ExternalPrediction(np.roll(scans.read(one)[1], 1, axis=1)) for one in scans}
    quiet = {"draws": 0, "gallery": 0, "progress": False}
    strict, usual = (bcdseg.evaluate_predictions(given, scans, tolerance_mm=mm, **quiet) for mm in (0.1, 1.0))
    with pytest.raises(bcdseg.errors.OptionError, match="different values of tolerance_mm"):
        strict.compare(usual)
    with pytest.raises(bcdseg.errors.OptionError, match="different values of tolerance_mm"):
        bcdseg.compare_readers({"A": usual, "B": strict}, usual, draws=100)


@pytest.mark.usefixtures("own_names")
def test_the_command_measures_both_models_with_the_same_tolerance_and_metrics(tmp_path: Path) -> None:
    root = busi(tmp_path / "data", (2, 2, 2))
    files = [(one.image.relative_to(tmp_path), one.masks[0].relative_to(tmp_path)) for one in bcdseg.open_dataset(root)]
    (tmp_path / "data.csv").write_text("\n".join(["image,mask,spacing", *(f"{image},{mask},0.5" for image, mask in files)]))
    scans = bcdseg.open_dataset(tmp_path / "data.csv")
    for one in scans:
        save(tmp_path / "theirs" / f"{one.id}_mask.png", np.roll(scans.read(one)[1], 1, axis=1))
    command = ["evaluate", str(tmp_path / "theirs"), str(tmp_path / "data.csv"), "--compare", str(tmp_path / "theirs")]
    options = ["--draws", "0", "--gallery", "0", "--tolerance-mm", "0.1", "--metric", "half", "--out", str(tmp_path / "report")]
    bcdseg.register("metric", "half")(lambda *_: 0.5)
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    (content,) = json.loads((tmp_path / "report" / "report.json").read_text())["comparisons"]
    assert {one["name"]: one["value"] for one in content["differences"]}["surface_dice"] == 0
    assert "half: theirs and theirs are equal" in done.stdout
