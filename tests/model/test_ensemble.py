"""Several models as one: the mean of their predictions, everywhere a single model can be used."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import draw_scan

import bcdseg
from bcdseg import Model, Rules, errors
from bcdseg.model.diagram import draw_diagram

CLASSES = ("normal", "benign", "malignant")
CHANNELS = (32, 16, 16, 8, 8)


def _model(encoder: str = "plain_cnn", *, seed: int = 0, rules: Rules | None = None, **options: object) -> Model:
    torch.manual_seed(seed)
    chosen = {"classes": CLASSES, "size": 64, "decoder_channels": CHANNELS, **options}
    made = bcdseg.create(encoder, **chosen)  # type: ignore[arg-type]
    return Model(made.network, made.preprocessing, rules, name=f"{encoder}-{seed}")


@pytest.fixture(scope="module")
def members() -> list[Model]:
    return [
        _model(seed=1, rules=Rules(temperature=0.2, class_offsets=(-2, 0, 0.5), threshold=0.3)),
        _model("tu-tf_efficientnet_lite0", seed=2, rules=Rules(threshold=0.4, min_confidence=0.6)),  # normalises otherwise
        _model(seed=3, decoder=None, decoder_channels=None, rules=Rules(temperature=3, threshold=0.6)),
    ]


def test_it_predicts_the_mean_of_the_members_probabilities(members: list[Model]) -> None:
    together = bcdseg.ensemble(members)
    scan = draw_scan(3)
    each, one = [model.predict(scan) for model in members], together.predict(scan)
    for name in CLASSES:
        assert one.probabilities[name] == pytest.approx(np.mean([single.probabilities[name] for single in each]), abs=1e-5)
    masks = [single.mask_probability for single in each if single.mask_probability is not None]
    assert len(masks) == 2
    np.testing.assert_allclose(one.mask_probability, np.mean(masks, axis=0), atol=1e-5)
    assert together.rules == Rules(threshold=0.4)


def test_a_segmenter_and_a_classifier_each_contribute_one_output(tmp_path: Path) -> None:
    segmenter, classifier = _model(seed=1, classes=[], head=None), _model(seed=3, decoder=None, decoder_channels=None)
    scan = draw_scan(3)
    together = bcdseg.load(bcdseg.ensemble([segmenter, classifier]).save(tmp_path / "both"))
    one = together.predict(scan)
    assert together.classes == tuple(CLASSES)
    assert together.no_lesion == "normal"
    np.testing.assert_allclose(one.mask_probability, segmenter.predict(scan).mask_probability, atol=1e-5)
    assert one.probabilities == pytest.approx(classifier.predict(scan).probabilities, abs=1e-5)


def test_very_sure_members_that_contradict_each_other_give_one_half() -> None:
    sure, unsure = _model(), _model()
    with torch.no_grad():
        for model, side in ((sure, 1e4), (unsure, -1e4)):
            model.network.mask_head[0].bias += side  # type: ignore[index, operator, union-attr]
            model.network.class_head.linear.bias.copy_(torch.tensor([side, -side, 0]))  # type: ignore[union-attr]
    scan = bcdseg.ensemble([sure, unsure]).predict(draw_scan(0))
    np.testing.assert_allclose(scan.mask_probability, 0.5, atol=1e-6)
    assert scan.probabilities == pytest.approx({"normal": 0.5, "benign": 0.5, "malignant": 0}, abs=1e-6)


def test_it_is_loaded_from_disk_unchanged(members: list[Model], tmp_path: Path) -> None:
    together = bcdseg.ensemble(members, name="three")
    again = bcdseg.load(together.save(tmp_path / "three"))
    scan = draw_scan(5)
    np.testing.assert_array_equal(again.predict(scan).mask_probability, together.predict(scan).mask_probability)
    assert again.predict(scan).to_dict() == together.predict(scan).to_dict()
    assert repr(again) == repr(together)
    config = json.loads((tmp_path / "three" / "config.json").read_text())
    assert [member["network"]["encoder"] for member in config["network"]["members"]] == [
        "plain_cnn",
        "tu-tf_efficientnet_lite0",
        "plain_cnn",
    ]
    assert {path.name for path in (tmp_path / "three").iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_a_damaged_list_of_members_has_its_message(members: list[Model], tmp_path: Path) -> None:
    folder = bcdseg.ensemble(members).save(tmp_path / "three")
    config = json.loads((folder / "config.json").read_text())
    del config["network"]["members"][1:]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(errors.ModelFileError, match="two models or more"):
        bcdseg.load(folder)


def test_card_picture_and_name_describe_the_members(members: list[Model]) -> None:
    together = bcdseg.ensemble(members, name="three")
    assert "| encoder | plain_cnn, tu-tf_efficientnet_lite0 |" in together.card
    text = " ".join(ET.fromstring(draw_diagram(together)).itertext())
    assert text.count("plain_cnn") == 2
    assert "mean of probabilities" in text
    assert "three: 3 members" in repr(together)


def test_it_has_seen_what_any_of_its_members_has(members: list[Model]) -> None:
    one, other = (Model(model.network, model.preprocessing, name=model.name) for model in members[:2])
    assert "untrained" in repr(bcdseg.ensemble([one, other]))
    one.training = {
        "seen": {"contents": ["a", "c"], "fingerprints": ["f"], "groups": []},
        "licence": "ours",
        "figures": {"Dice": 1},
    }
    other.training = {"seen": {"contents": ["b", "c"], "groups": ["g"]}, "licence": "ours"}
    training = bcdseg.ensemble([one, other]).training
    assert training["seen"] == {"contents": ["a", "b", "c"], "fingerprints": ["f"], "groups": ["g"]}
    assert training["licence"] == "ours"
    assert "figures" not in training
    other.training = {"licence": "theirs"}  # without the hashes of its training scans
    training = bcdseg.ensemble([one, other]).training
    assert training["seen"] == {"contents": ["a", "c"], "fingerprints": ["f"], "groups": [], "unknown": [other.name]}
    assert "licence" not in training


def test_the_members_are_copied() -> None:
    own = _model(seed=9)
    together = bcdseg.ensemble([own, own])
    before = together.predict(draw_scan(1)).probabilities
    with torch.no_grad():
        own.network.class_head.linear.bias += 5  # type: ignore[union-attr]
    assert together.predict(draw_scan(1)).probabilities == before
    assert len({id(parameter) for parameter in together.network.parameters()}) == 2 * len(list(own.network.parameters()))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"classes": ("benign", "normal", "malignant")}, "same classes"),
        ({"size": 96}, r"same size: plain_cnn-0 \(64, 64\); plain_cnn-1 \(96, 96\)"),
        ({"resize": "fit"}, "same resize"),
        ({"in_channels": 3}, "same in_channels"),
        ({"no_lesion": None}, "same no_lesion"),
    ],
    ids=str,
)
def test_members_that_do_not_fit_are_refused(other: dict[str, object], reason: str) -> None:
    with pytest.raises(errors.OptionError, match=reason):
        bcdseg.ensemble([_model(), _model(seed=1, **other)])


def test_classes_that_differ_in_case_are_one_class(tmp_path: Path) -> None:
    models = [_model(), _model(seed=1, classes=("Normal", "benign", "MALIGNANT"), no_lesion="Normal")]
    with pytest.warns(
        errors.DataWarning, match="plain_cnn-1: spellings of classes of plain_cnn-0: 'MALIGNANT' is 'malignant', 'Nor"
    ):
        together = bcdseg.ensemble(models)
    together = bcdseg.load(together.save(tmp_path / "both"))
    assert (together.classes, together.no_lesion) == (CLASSES, "normal")
    found, each = together.predict(draw_scan(0)).probabilities, [model.predict(draw_scan(0)).probabilities for model in models]
    assert found["malignant"] == pytest.approx((each[0]["malignant"] + each[1]["MALIGNANT"]) / 2, abs=1e-5)


def test_impossible_ensembles_are_refused() -> None:
    one = _model()
    with pytest.raises(errors.OptionError, match="two models or more"):
        bcdseg.ensemble([one])
    with pytest.raises(errors.OptionError, match="an ensemble itself"):
        bcdseg.ensemble([one, bcdseg.ensemble([one, one])])
    with pytest.raises(errors.OptionError, match="is not a Model"):
        bcdseg.ensemble(["busi-lite", "other"])  # type: ignore[list-item]
