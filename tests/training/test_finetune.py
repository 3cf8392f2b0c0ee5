"""A trained model adapted to other classes: kept weights, new weights, and the description of the changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import draw_scan

import bcdseg
from bcdseg import Model, Rules, errors
from bcdseg.training.finetune import adapt

CLASSES = ("normal", "benign", "malignant")


@pytest.fixture(params=["guided", "global"])
def trained(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    made = bcdseg.create("plain_cnn", classes=CLASSES, size=64, head=request.param, decoder_channels=(32, 16, 16, 8, 8))
    rules = Rules(threshold=0.4, temperature=2.0, min_confidence=0.7)
    training = {"figures": {"Dice": 0.9}, "seen": {"contents": ["ab"], "groups": []}}
    return Model(made.network, made.preprocessing, rules, training=training, name="old")


def _state(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def test_new_classes_get_a_new_last_layer_and_all_else_is_kept(trained: Model) -> None:
    before = _state(trained)
    adapted, changes = adapt(trained, ["cyst", "benign", "malignant"])
    assert adapted.classes == ("cyst", "benign", "malignant")
    assert adapted.no_lesion is None
    changed = {name for name, value in _state(adapted).items() if not torch.equal(value, before[name])}
    assert changed == {"class_head.linear.weight", "class_head.linear.bias"}
    assert changes is not None
    for word in ("old", "cyst", "normal dropped", "encoder", "decoder", "benign and malignant"):
        assert word in changes
    old, new = trained.predict(draw_scan(0)), adapted.predict(draw_scan(0))
    np.testing.assert_array_equal(new.mask_probability, old.mask_probability)
    ratio = old.probabilities["benign"] / old.probabilities["malignant"]  # at the old temperature, which is gone
    assert new.probabilities["benign"] / new.probabilities["malignant"] == pytest.approx(ratio**2, rel=1e-3)


@pytest.mark.parametrize(("classes", "stays"), [(["normal", "cyst"], True), (["cyst", "benign"], False)], ids=str)
def test_a_gate_stays_where_a_class_still_means_no_lesion(classes: list[str], stays: bool) -> None:
    adapted, _ = adapt(bcdseg.create("plain_cnn", classes=CLASSES, size=64, gated=True), classes)
    assert adapted.network.config.gated is stays
    adapted.predict(draw_scan(0))


def test_the_model_handed_in_stays_as_it_is(trained: Model) -> None:
    before = _state(trained)
    adapted, _ = adapt(trained, ["a", "b"])
    with torch.no_grad():
        for parameter in adapted.network.parameters():
            parameter += 1
    assert all(torch.equal(value, before[name]) for name, value in _state(trained).items())
    assert trained.classes == trained.network.config.classes == CLASSES
    assert trained.rules.temperature == 2


@pytest.mark.parametrize("classes", [CLASSES, ("malignant", "normal", "benign"), ("benign", "malignant"), ()], ids=str)
def test_classes_of_the_model_change_nothing_in_any_order(trained: Model, classes: tuple[str, ...]) -> None:
    adapted, changes = adapt(trained, classes)
    assert changes is None
    assert adapted.classes == CLASSES
    assert adapted.rules == trained.rules
    assert adapted.network is not trained.network
    assert all(torch.equal(value, _state(trained)[name]) for name, value in _state(adapted).items())


def test_what_was_calibrated_and_measured_for_the_old_classes_is_dropped_and_what_was_seen_is_not(trained: Model) -> None:
    point = bcdseg.OperatingPoint(name="sure", positive="benign", threshold=0.3)
    trained.rules = replace(trained.rules, refinement=2.0, presence_threshold=0.3, operating_points=(point,))
    adapted, changes = adapt(trained, ["Normal", "other"])
    assert adapted.rules == Rules(threshold=0.4, refinement=2.0)
    removed = "presence threshold 0.3, confidence threshold 0.7, temperature 2, operating point 'sure'."
    assert str(changes).endswith(f"Removed with the old classes: {removed}")
    assert adapted.training == {"seen": {"contents": ["ab"], "fingerprints": [], "groups": []}}
    assert adapted.no_lesion == "Normal"
    trained.training = {"figures": {"Dice": 0.9}}
    assert adapt(trained, ["a", "b"])[0].training == {
        "seen": {"contents": [], "fingerprints": [], "groups": [], "unknown": ["old"]}
    }


def test_a_model_for_outlines_only_has_no_use_for_labels() -> None:
    outlines = bcdseg.create("plain_cnn", classes=[], head=None, size=64)
    adapted, changes = adapt(outlines, CLASSES)
    assert adapted.classes == ()
    assert changes is not None
    assert "not used" in changes


def test_what_can_not_be_adapted_is_refused(trained: Model) -> None:
    with pytest.raises(errors.OptionError, match="two or more"):
        adapt(trained, ["cyst"])
    with pytest.raises(errors.OptionError, match="members"):
        adapt(bcdseg.ensemble([trained, trained]), CLASSES)
