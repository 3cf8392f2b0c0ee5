"""Metrics of the user: functions, registered names, and invalid ones."""

from __future__ import annotations

import numpy as np
import pytest
from made import busi
from made_cases import made_table
from sklearn import metrics as sk

import bcdseg
from bcdseg.errors import MetricWarning, OptionError
from bcdseg.evaluation.external_predictions import ExternalPrediction, evaluate_predictions
from bcdseg.evaluation.measures.catalogue import MeasureOptions, all_measures
from bcdseg.evaluation.measures.custom import Metric, find_metrics
from bcdseg.evaluation.measures.intervals import estimate
from bcdseg.evaluation.measures.subgroups import analyse_subgroups


@bcdseg.register("metric", "test_volume_overlap")
def volume_overlap(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return float(2 * (y_true & y_pred).sum() / (y_true.sum() + y_pred.sum()))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Dataset:
    return bcdseg.open_dataset(busi(tmp_path_factory.mktemp("metrics") / "made", (4, 12, 12)))


def _given(data: bcdseg.Dataset) -> dict[str, ExternalPrediction]:
    """Return outlines that are moved by a few pixels, and one that is missed."""
    given = {}
    for at, one in enumerate(data):
        mask = data.read(one)[1]
        assert mask is not None
        moved = np.roll(mask, at % 5, axis=1) & (at != 3)
        shares = np.full(3, 0.2) + 0.4 * (np.arange(3) == (data.classes.index(str(one.label)) + (at % 7 == 0)) % 3)
        given[one.id] = ExternalPrediction(moved, dict(zip(data.classes, shares.tolist(), strict=True)))
    return given


def test_a_mask_metric_has_the_value_and_interval_of_the_built_in_one(data: bcdseg.Dataset) -> None:
    found = evaluate_predictions(_given(data), data, metrics=["test_volume_overlap"], draws=50, gallery=0)
    own, built_in = found["test_volume_overlap"], found["dice"]
    assert (own.value, own.low, own.high, own.n) == (
        pytest.approx(built_in.value),
        pytest.approx(built_in.low),
        pytest.approx(built_in.high),
        built_in.n,
    )
    assert found.cases.custom["test_volume_overlap"][found.cases.lesion] == pytest.approx(
        found.cases.outline["dice"][found.cases.lesion]
    )
    assert np.isnan(found.cases.custom["test_volume_overlap"][found.cases.clear]).all()


def test_metrics_of_classes_and_probabilities_are_those_of_scikit_learn() -> None:
    cases = made_table(90)
    options = MeasureOptions(
        metrics=(
            Metric(sk.accuracy_score, "classes", name="own_accuracy", unit="fraction"),
            Metric(sk.log_loss, "probabilities", unit="score", higher_is_better=False),
        )
    )
    measures = [one for one in all_measures(cases, options) if one.name in ("own_accuracy", "accuracy", "log_loss", "nll")]
    found = estimate(cases, measures, draws=30)
    for own, built_in in (("own_accuracy", "accuracy"), ("log_loss", "nll")):
        mine, theirs = found[own], found[built_in]
        assert (mine.value, mine.low, mine.high) == pytest.approx((theirs.value, theirs.low, theirs.high))


def test_a_function_is_a_metric_of_masks_and_has_its_name() -> None:
    (found,) = find_metrics([volume_overlap])
    assert (found.title, found.inputs) == ("volume_overlap", "masks")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["unknown_metric"], "metric='unknown_metric' is unknown"),
        ([3], "not a function"),
        ("dice", "give a list"),
        ([volume_overlap, volume_overlap], "volume_overlap occurs twice"),
    ],
)
def test_objects_other_than_metrics_are_refused(metrics: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        find_metrics(metrics)  # type: ignore[arg-type]


def test_a_metric_that_fails_is_named_with_the_scan(data: bcdseg.Dataset) -> None:
    def fails(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        raise ValueError(f"no such thing: {y_true.shape == y_pred.shape}")

    def undefined(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return float("nan") if not y_pred.any() else float(y_true.any())

    for function, message in (
        (fails, "'fails' raised ValueError on .*png: no such thing"),
        (undefined, "'undefined' returned nan for"),
    ):
        with pytest.raises(OptionError, match=message):
            evaluate_predictions(_given(data), data, metrics=[function], draws=0, gallery=0)
    with pytest.raises(OptionError, match="inputs='pixels' of the metric 'volume_overlap'"):
        Metric(volume_overlap, "pixels")
    masks = {one.id: ExternalPrediction(data.read(one)[1]) for one in data}
    with pytest.raises(OptionError, match="accuracy_score needs classes, and no classes are predicted"):
        evaluate_predictions(masks, data, metrics=[Metric(sk.accuracy_score, "classes")], draws=0)


def test_a_name_of_a_built_in_measure_is_refused_before_prediction(data: bcdseg.Dataset) -> None:
    for name in ("accuracy", "dice", "iou", "kappa", "ece", "joint_score", "sure_accuracy", "dice/benign"):
        with pytest.raises(OptionError, match=f"metrics: {name} is the name of a built-in measure"):
            bcdseg.evaluate(_unpredictable(data), data, metrics=[Metric(volume_overlap, name=name)], draws=0)
    with pytest.raises(OptionError, match=r"0\.05 and 0\.05001 are equal when rounded"):
        bcdseg.evaluate(_unpredictable(data), data, prevalence=[0.05, 0.05001], draws=0)


def test_a_metric_that_raises_on_some_scans_is_undefined_there() -> None:
    cases = made_table(60)
    own = MeasureOptions(metrics=(Metric(sk.log_loss, "probabilities", higher_is_better=False),))
    measures = [one for one in all_measures(cases, own) if one.name in ("log_loss", "nll")]
    with pytest.warns(MetricWarning, match="'log_loss' raised ValueError on some of the scans") as issued:
        found = analyse_subgroups(cases, measures, ["class"], draws=20)
    assert len(issued) == 1
    estimates = [one.estimates["log_loss"] for one in found.of("class")]
    assert {(one.value, one.note) for one in estimates} == {(None, "it is undefined on these scans")}
    assert estimate(cases, measures, draws=0)["log_loss"].value is not None


def _unpredictable(data: bcdseg.Dataset) -> bcdseg.Model:
    """Return a model that fails when it predicts."""
    model = bcdseg.create("plain_cnn", classes=list(data.classes), size=32)
    model.network.forward = lambda *_: pytest.fail("a scan was predicted")  # type: ignore[method-assign]
    return model
