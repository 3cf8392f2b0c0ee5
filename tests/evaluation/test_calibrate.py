"""Decision rules that are chosen on validation scans and stored in the model."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made import busi

import bcdseg
from bcdseg.evaluation.calibrate import calibrate


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Dataset:
    return bcdseg.open_dataset(busi(tmp_path_factory.mktemp("val") / "made", (8, 9, 10)))


@pytest.fixture(scope="module")
def model(val: bcdseg.Dataset) -> bcdseg.Model:
    """Return a model that distinguishes the made classes poorly, with too high confidence."""
    torch.manual_seed(0)
    model = bcdseg.create("plain_cnn", classes=val.classes, size=32, decoder=None)
    images = torch.stack([torch.from_numpy(model.preprocessing(val.read(one)[0]).array) for one in val])
    labels = torch.tensor([val.classes.index(str(one.label)) for one in val])
    optimizer = torch.optim.Adam(model.network.class_head.parameters(), 0.1)  # type: ignore[union-attr]
    with torch.no_grad():
        features = model.network.eval().encoder(images)  # type: ignore[union-attr, operator]
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.network.class_head(features, None, None), labels).backward()  # type: ignore[union-attr, operator]
        optimizer.step()
    with torch.no_grad():
        model.network.class_head.linear.weight *= 6  # type: ignore[union-attr, operator]
        model.network.class_head.linear.bias *= 6  # type: ignore[union-attr, operator]
    model.training = {"summary": "made"}
    return model


def _logits(model: bcdseg.Model, data: bcdseg.Dataset) -> np.ndarray:
    images = torch.stack([torch.from_numpy(model.preprocessing(data.read(one)[0]).array) for one in data])
    with torch.no_grad():
        return model.network.eval()(images).classes.double().numpy()


def test_the_temperature_makes_the_true_classes_most_probable(model: bcdseg.Model, val: bcdseg.Dataset) -> None:
    found = calibrate(model, val)
    labels = np.array([val.classes.index(str(one.label)) for one in val])
    logits = _logits(model, val)

    def cost(temperature: float) -> float:
        scaled = torch.log_softmax(torch.from_numpy(logits / temperature), 1).numpy()
        return float(-scaled[np.arange(len(labels)), labels].mean())

    grid = np.geomspace(0.1, 10, 400)
    assert cost(found.rules.temperature) <= min(map(cost, grid)) + 0.02  # the fit leans a little towards 1
    assert abs(found.rules.temperature - 1) > 0.05
    confidence = [scan.confidence for scan in found.predict([one.image for one in val])]
    assert np.mean(np.array(confidence) < found.rules.min_confidence) == pytest.approx(0.1, abs=0.04)
    assert model.rules == bcdseg.Rules()
    assert "calibration" not in model.training
    assert "27 validation scans" in found.card


def test_the_result_does_not_depend_on_the_temperature_before(model: bcdseg.Model, val: bcdseg.Dataset) -> None:
    twice = calibrate(calibrate(model, val, sensitivity=0.9), val, sensitivity=0.9)
    assert twice.rules.temperature == pytest.approx(calibrate(model, val).rules.temperature, rel=1e-3)
    assert len(twice.rules.operating_points) == 1


@pytest.mark.parametrize(
    ("kind", "share"), [("sensitivity", 0.95), ("sensitivity", 0.5), ("specificity", 0.9), ("specificity", 1.0)]
)
def test_an_operating_point_reaches_its_share_where_it_was_chosen(
    model: bcdseg.Model, val: bcdseg.Dataset, kind: str, share: float, tmp_path: Path
) -> None:
    folder = calibrate(model, val, **{kind: share}).save(tmp_path / "model")
    found = bcdseg.load(folder)
    (point,) = found.rules.operating_points
    assert point.name == f"{kind} {share:g}"
    called = np.array([scan.label == "malignant" for scan in found.predict([one.image for one in val], operating_point=point.name)])
    truth = np.array([one.label == "malignant" for one in val])
    assert (called[truth].mean(), 1 - called[~truth].mean()) == pytest.approx((point.sensitivity, point.specificity))
    assert (point.sensitivity if kind == "sensitivity" else point.specificity) >= share  # type: ignore[operator]
    scores = np.array([scan.probabilities["malignant"] for scan in found.predict([one.image for one in val])])
    others = [np.mean(scores[truth] >= one) if kind == "specificity" else np.mean(scores[~truth] < one) for one in scores]
    good = [
        other
        for one, other in zip(scores, others, strict=True)
        if (np.mean(scores[truth] >= one) if kind == "sensitivity" else np.mean(scores[~truth] < one)) >= share
    ]
    best = point.specificity if kind == "sensitivity" else point.sensitivity
    assert best == pytest.approx(max(good, default=0.0))


def test_several_points_and_another_positive_class(model: bcdseg.Model, val: bcdseg.Dataset) -> None:
    found = calibrate(model, val, sensitivity=(0.9, 1.0), specificity=0.8, positive="normal").rules.operating_points
    assert [point.name for point in found] == ["sensitivity 0.9", "sensitivity 1", "specificity 0.8"]
    assert {point.positive for point in found} == {"normal"}


def test_wrong_wishes_are_refused(model: bcdseg.Model, val: bcdseg.Dataset) -> None:
    for wish, reason in (
        ({"sensitivity": 1.5}, "above 0 and up to 1"),
        ({"sensitivity": 0.9, "positive": "cyst"}, "normal, benign"),
    ):
        with pytest.raises(bcdseg.errors.OptionError, match=reason):
            calibrate(model, val, **wish)  # type: ignore[arg-type]
    with pytest.raises(bcdseg.errors.InputError, match="and others that are not"):
        calibrate(model, val.filter(label=["normal", "benign"]), sensitivity=0.9)
    other = replace(val, samples=tuple(replace(one, label="cyst") for one in val))
    with pytest.raises(
        bcdseg.errors.InputError, match=r"'cyst' \(27 scans\).*not one of the classes of new plain_cnn: normal, benign, malignant"
    ):
        calibrate(model, other)


def test_a_specificity_that_no_threshold_reaches_is_refused(model: bcdseg.Model, val: bcdseg.Dataset) -> None:
    certain = copy.deepcopy(model)  # all scans are benign to it, with a probability of 1
    with torch.no_grad():
        certain.network.class_head.linear.weight *= 1e5  # type: ignore[union-attr, operator]
    certain.refresh()
    with pytest.raises(bcdseg.errors.InputError, match="specificity=1: no threshold reaches it"):
        calibrate(certain, val, specificity=1.0, positive="benign")


def test_what_is_missing_to_calibrate_is_named(model: bcdseg.Model, val: bcdseg.Dataset) -> None:
    unlabelled = replace(val, samples=tuple(replace(one, label=None) for one in val))
    bare = replace(val, samples=tuple(replace(one, label=None, masks=()) for one in val))
    for scans in (unlabelled, bare):
        with pytest.raises(bcdseg.errors.InputError, match="has no labels, and calibrate"):
            calibrate(model, scans)
    with pytest.raises(bcdseg.errors.InputError, match="all labels are 'benign'"):
        calibrate(model, val.filter(label="benign"))
    segmenting = bcdseg.create("plain_cnn", classes=[], head=None, size=32)
    for wanted in ({}, {"sensitivity": 0.9}):
        with pytest.raises(bcdseg.errors.InputError, match="has no classes, and calibrate"):
            calibrate(segmenting, val, **wanted)
    with pytest.raises(bcdseg.errors.InputError, match="contains no scans"):
        calibrate(model, val.select([]))


def test_the_scans_of_the_calibration_are_refused_as_test_scans(model: bcdseg.Model, val: bcdseg.Dataset, tmp_path: Path) -> None:
    found = bcdseg.load(calibrate(model, val, sensitivity=0.9).save(tmp_path / "model"))
    with pytest.raises(bcdseg.errors.LeakError, match="27 of these 27 scans"):
        bcdseg.evaluate(found, val, draws=0, gallery=0)
    assert calibrate(found, val, sensitivity=0.9).rules.operating_points
    assert "seen" not in model.training
