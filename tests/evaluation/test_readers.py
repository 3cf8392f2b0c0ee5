"""Readers: their agreement, and differences over readers and scans, against published examples and simple counts."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from made import busi, save
from made_folders import write_table
from sklearn.metrics import cohen_kappa_score

import bcdseg
from bcdseg import Dataset, errors
from bcdseg.data.masks import read_mask
from bcdseg.evaluation.external_predictions import ExternalPrediction
from bcdseg.evaluation.metrics.readers import fleiss_kappa, majority, random_readers
from bcdseg.table_text import csv_text
from bcdseg.types import Sample

CLASSES = ("normal", "benign", "malignant")
SKILL = {"A": 0.9, "B": 0.8, "C": 0.6}
Readings = dict[str, ExternalPrediction]


def test_the_difference_over_readers_and_scans_is_that_of_a_published_study() -> None:
    # Van Dyke's study, as the R package MRMCaov analyses it (Smith and Hillis, vignette and README).
    first = np.array([0.9196457, 0.8587762, 0.9038647, 0.9731079, 0.8297907])
    second = np.array([0.9478261, 0.9053140, 0.9217391, 0.9993559, 0.9299517])
    shared = 2 * (0.0003440748 - 0.0002390284)  # covariance of the differences of two readers
    covariance = np.full((5, 5), shared) + np.diag([0.001] * 5)
    found = random_readers(first - second, covariance)
    assert found is not None
    assert found.difference == pytest.approx(-0.04380032, abs=1e-6)
    assert found.se == pytest.approx(0.02074862, abs=1e-6)
    assert found.df == pytest.approx(15.25967, abs=1e-3)
    assert (found.low, found.high) == pytest.approx((-0.0879594986, 0.0003588544), abs=1e-6)
    assert found.p == pytest.approx(0.05166569, abs=1e-5)


def test_readers_that_differ_alike_have_no_variance_between_them() -> None:
    found = random_readers(np.full(3, 0.2), np.full((3, 3), 0.01))
    assert found is not None
    assert found.se == pytest.approx(0.1)
    gains = np.array([[0.002, -0.0001], [-0.0001, 0.002]])  # of two readers, by one scan each
    assert random_readers(np.full(2, 0.05), gains) is None


def test_fleiss_kappa_is_that_of_the_published_table() -> None:
    # 10 subjects, 14 raters, 5 categories: Fleiss' worked example, kappa 0.210
    votes = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ],
        np.float64,
    )
    assert fleiss_kappa(votes)[0] == pytest.approx(0.210, abs=5e-4)
    twice = fleiss_kappa(votes, np.array([[2.0] * 10]))
    assert twice[0] == pytest.approx(fleiss_kappa(np.repeat(votes, 2, axis=0))[0])
    assert np.isnan(fleiss_kappa(np.array([[3.0, 0.0], [3.0, 0.0]]))[0])


def test_half_of_the_readers_is_not_a_majority() -> None:
    one, other = np.array([True, True, False]), np.array([True, False, False])
    assert majority([one, other]).tolist() == [True, False, False]
    assert majority([one, one, other]).tolist() == [True, True, False]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return bcdseg.open_dataset(busi(tmp_path_factory.mktemp("scans"), (12, 12, 12)))


def reading(scans: Dataset, skill: float, seed: int) -> Readings:
    """Return a reader who cuts the lesion at the side, and sometimes chooses a wrong class."""
    random = np.random.default_rng(seed)
    found = {}
    for one in scans:
        mask = read_mask(one.masks, scans.read(one)[0].shape[:2])
        kept = int(mask.shape[1] * (0.5 + 0.5 * min(1.0, skill * random.uniform(0.8, 1.2))))
        mask[:, kept:] = False
        label = one.label if random.uniform() < skill else CLASSES[random.integers(3)]
        found[one.id] = ExternalPrediction(mask, {name: float(name == label) for name in CLASSES})
    return found


@pytest.fixture(scope="module")
def readings(scans: Dataset) -> dict[str, Readings]:
    return {name: reading(scans, skill, seed) for seed, (name, skill) in enumerate(SKILL.items())}


def label(one: ExternalPrediction) -> str:
    assert one.probabilities is not None
    return max(one.probabilities, key=one.probabilities.__getitem__)


def simple_dice(one: ExternalPrediction, other: ExternalPrediction) -> float:
    both = np.sum(one.mask) + np.sum(other.mask)
    return 1.0 if both == 0 else 2 * np.sum(np.logical_and(one.mask, other.mask)) / both


def test_agreement_of_readers_is_what_simple_counts_give(scans: Dataset, readings: dict[str, Readings]) -> None:
    study = bcdseg.evaluate_readers(readings, scans, draws=200, progress=False)
    dices = []
    for first, second in combinations(readings, 2):
        expected = np.mean([simple_dice(readings[first][one], readings[second][one]) for one in scans.ids])
        found = study.agreement("dice", first, second)
        assert found.value == pytest.approx(expected)
        assert found.low < found.value < found.high
        dices.append(expected)
        labels = [[label(readings[name][one]) for one in scans.ids] for name in (first, second)]
        assert study.agreement("kappa", second, first).value == pytest.approx(cohen_kappa_score(*labels))
    assert study.agreement("dice").value == pytest.approx(np.mean(dices))
    assert "| A and B |" in study.table()
    assert study.differences == {}
    with pytest.raises(errors.OptionError, match="not in this study"):
        study.agreement("dice", "A", "Z")


def test_a_model_is_compared_with_the_consensus_of_the_others(scans: Dataset, readings: dict[str, Readings]) -> None:
    perfect = reading(scans, 2.0, 9)
    study = bcdseg.evaluate_readers(readings, scans, model=perfect, model_name="net", draws=200, progress=False)
    changes = []
    for left_out in readings:
        others = [one for name, one in readings.items() if name != left_out]
        agreed = {
            one: ExternalPrediction(np.logical_and(others[0][one].mask, others[1][one].mask)) for one in scans.ids
        }  # more than half of two readers is both
        values = [np.mean([simple_dice(agreed[one], of[one]) for one in scans.ids]) for of in (perfect, readings[left_out])]
        assert study.agreement("dice", left_out, "consensus of the others").value == pytest.approx(values[1])
        changes.append(values[0] - values[1])
    found = study.differences["dice"]
    assert found.value == pytest.approx(np.mean(changes))
    assert found.low <= found.value <= found.high
    assert "net minus readers" in study.table()
    assert study.to_dict()["readers"] == ("A", "B", "C")


def test_a_kappa_that_is_undefined_has_no_difference_with_or_without_draws(scans: Dataset) -> None:
    same = {one: ExternalPrediction(None, {"benign": 1.0}) for one in scans.ids}
    for draws in (0, 100):
        study = bcdseg.evaluate_readers({"A": same, "B": same}, scans, model=same, draws=draws, progress=False)
        found = study.differences["kappa"]
        assert (found.value, found.note) == (None, "it is undefined on these scans")
        assert (found.n, found.groups) == (36, 36)
        assert "nan" not in study.table()


def test_readers_and_a_model_are_compared_over_readers_and_scans(scans: Dataset, readings: dict[str, Readings]) -> None:
    quiet = {"draws": 0, "gallery": 0, "progress": False}
    alone = {name: bcdseg.evaluate_predictions(one, scans, name=name, **quiet) for name, one in readings.items()}
    model = bcdseg.evaluate_predictions(reading(scans, 2.0, 9), scans, name="net", **quiet)
    found = bcdseg.compare_readers(alone, model, draws=300)
    assert list(found) == list(found.differences)
    one = found["accuracy"]
    assert one.difference.value == pytest.approx(
        model["accuracy"].value - np.mean([alone[name]["accuracy"].value for name in alone])
    )
    assert one.difference.low < one.difference.value < one.difference.high
    assert one.first["C"] == alone["C"]["accuracy"].value
    back = bcdseg.compare_readers(dict.fromkeys(alone, model), alone, draws=300, names=("with net", "alone"))["accuracy"]
    assert back.difference.value == pytest.approx(-one.difference.value)
    assert back.p == pytest.approx(one.p)
    assert "net minus readers, mean over 3 readers" in repr(found)
    assert "  ROC-AUC, malignant against rest: " in repr(found)
    assert "  Accuracy: " in repr(found)
    with pytest.raises(errors.OptionError, match="two or more readers"):
        bcdseg.compare_readers({"A": alone["A"]}, model)
    with pytest.raises(errors.OptionError, match="'C'"):
        bcdseg.compare_readers(alone, {name: alone[name] for name in "AB"})


def test_a_difference_of_few_scans_has_no_interval(scans: Dataset, readings: dict[str, Readings]) -> None:
    few = scans.select(scans.ids[:12:2] + scans.ids[-6::2])
    quiet = {"draws": 0, "gallery": 0, "progress": False, "subset": True}
    alone = {name: bcdseg.evaluate_predictions(one, few, name=name, **quiet) for name, one in readings.items()}
    model = bcdseg.evaluate_predictions(reading(scans, 2.0, 9), few, name="net", **quiet)
    found = bcdseg.compare_readers(alone, model, draws=100)
    one = found["dice"].difference
    assert (one.n, one.groups, one.low, found["dice"].p) == (6, 6, None, None)
    assert one.value == pytest.approx(model["dice"].value - np.mean([alone[name]["dice"].value for name in alone]))
    assert "no interval: only 6 groups of scans with a lesion: too few" in repr(found)
    assert found["class_recall/malignant"].difference.note == "there are no malignant scans"
    assert set(found["class_recall/malignant"].first.values()) == {None}
    same = bcdseg.compare_readers(dict.fromkeys("AB", model), model, draws=100)["accuracy"]
    assert (same.difference.value, same.difference.low) == (0, None)
    study = bcdseg.evaluate_readers(_of(readings, few), few, model=_of({"": readings["A"]}, few)[""], draws=50, progress=False)
    assert study.differences["dice"].note.startswith("only 9 groups of scans")


def _of(readings: dict[str, Readings], scans: Dataset) -> dict[str, Readings]:
    return {name: {one: found[one] for one in scans.ids} for name, found in readings.items()}


def test_spellings_of_a_class_are_one_class(scans: Dataset) -> None:
    bare = replace(scans, samples=tuple(replace(one, label=None) for one in scans))
    given = {
        name: {one.id: ExternalPrediction(None, {spelled(one.label or ""): 1.0}) for one in scans}
        for name, spelled in (("A", str.lower), ("B", str.title))
    }
    assert bcdseg.evaluate_readers(given, bare, draws=0, progress=False).agreement("kappa", "A", "B").value == 1


def test_a_table_names_classes_without_probabilities(scans: Dataset, tmp_path: Path) -> None:
    for name in "AB":
        table = csv_text(["id", "label"], [[one.id, "benign" if name == "B" else one.label] for one in scans])
        (tmp_path / f"{name}.csv").write_text(table)
    study = bcdseg.evaluate_readers({name: tmp_path / f"{name}.csv" for name in "AB"}, scans, draws=0, progress=False)
    assert study.agreement("kappa", "A", "B").value == pytest.approx(0, abs=1e-9)
    with pytest.raises(errors.OptionError, match="not in this study"):
        study.agreement("dice")


def test_readers_are_data_sets_whose_scans_are_found_by_their_pixels(scans: Dataset, tmp_path: Path) -> None:
    for reader, cut in (("A", 0), ("B", 6)):
        rows = []
        for number, one in enumerate(scans):
            pixels, mask = scans.read(one)
            mask[:, : mask.shape[1] // 2 - cut] = False
            save(tmp_path / reader / "images" / f"{number}.png", pixels)
            save(tmp_path / reader / "masks" / f"{number}.png", mask)
            rows.append([f"images/{number}.png", f"masks/{number}.png", one.label if reader == "A" or number % 3 else "benign"])
        write_table(tmp_path / reader / "table.csv", [["image", "mask", "label"], *rows])
    readers = {name: bcdseg.open_dataset(tmp_path / name / "table.csv") for name in "AB"}
    study = bcdseg.evaluate_readers(readers, scans, draws=0, progress=False)
    pairs = [[readers[name].read(one)[1] for one in readers[name]] for name in "AB"]
    expected = np.mean([simple_dice(*map(ExternalPrediction, pair)) for pair in zip(*pairs, strict=True)])
    assert study.agreement("dice", "A", "B").value == pytest.approx(expected)
    labels = [[one.label for one in readers[name]] for name in "AB"]
    assert study.agreement("kappa", "A", "B").value == pytest.approx(cohen_kappa_score(*labels))


def _dataset(scans: Dataset, samples: list[Sample]) -> Dataset:
    """Return a data set with the ids of some scans, in their order, for other samples."""
    return replace(scans, samples=tuple(replace(one, id=name) for one, name in zip(samples, scans.ids, strict=True)))


def test_a_reader_s_scan_is_that_of_the_same_pixels(scans: Dataset, tmp_path: Path) -> None:
    some = scans.select(scans.ids[12:18])
    turned = _dataset(some, [*some.samples[1:], some[0]])  # each id belongs to another scan
    study = bcdseg.evaluate_readers({"A": some, "B": turned}, some, draws=0, progress=False)
    assert study.agreement("dice", "A", "B").value == 1

    lossy = [replace(one, image=save(tmp_path / f"{at}.jpg", some.read(one)[0])) for at, one in enumerate(some)]
    study = bcdseg.evaluate_readers({"A": some, "B": _dataset(some, lossy)}, some, draws=0, progress=False)
    assert study.agreement("dice", "A", "B").value == 1
    with pytest.raises(errors.InputError, match=r"B: the image of .* is not that scan"):
        bcdseg.evaluate_readers({"A": some, "B": _dataset(some, [*lossy[1:], lossy[0]])}, some, progress=False)


def test_readings_of_one_scan_and_of_other_scans_are_reported(scans: Dataset) -> None:
    some = scans.select(scans.ids[12:18])
    twice = replace(some, samples=(*some, replace(some[0], id="again")))
    renamed = replace(some, samples=(replace(some[0], id="first"), *some.samples[1:]))
    with pytest.raises(errors.InputError, match=r"B: .*'again' are readings of one scan, 'first'"):
        bcdseg.evaluate_readers({"A": renamed, "B": twice}, renamed, progress=False)
    with pytest.warns(errors.DataWarning, match=r"B: .* not among these scans"):
        bcdseg.evaluate_readers({"A": some, "B": scans}, some, draws=0, progress=False)


def test_what_readers_lack_is_named(scans: Dataset, readings: dict[str, Readings]) -> None:
    with pytest.raises(errors.OptionError, match="two or more"):
        bcdseg.evaluate_readers({"A": readings["A"]}, scans)
    fewer = {scan: one for scan, one in readings["B"].items() if scan != scans.ids[0]}
    with pytest.raises(errors.InputError, match="B: has no prediction"):
        bcdseg.evaluate_readers({"A": readings["A"], "B": fewer}, scans)
    only_classes = {scan: ExternalPrediction(None, one.probabilities) for scan, one in readings["B"].items()}
    with pytest.raises(errors.InputError, match="B: has no masks, and A has"):
        bcdseg.evaluate_readers({"A": readings["A"], "B": only_classes}, scans)
    with pytest.raises(errors.OptionError, match="name of a reader"):
        bcdseg.evaluate_readers(readings, scans, model=readings["A"], model_name="A")
