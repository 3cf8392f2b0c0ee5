"""Rules fitted to a site: what its scans determine is changed, and the rest is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cases import made_table
from PIL import Image
from typer.testing import CliRunner

import bcdseg
from bcdseg import Dataset, Model, Output, Rules, errors
from bcdseg.cli import app
from bcdseg.evaluation.metrics.calibration import fit_offset
from bcdseg.evaluation.site import fit_class_rules
from bcdseg.evaluation.site.rules import SiteTable, needed_groups, with_calibration
from bcdseg.runtimes.base import Calibration

CLASSES = ["normal", "benign", "malignant"]
TRUE_TEMPERATURE, SEPARATION = 3.0, 1.5
RULES = Rules(min_lesion_share=0.01)


class Written(torch.nn.Module):
    """Network whose class logits are written into three pixels of the scan, and whose mask is its brightness."""

    def __init__(self, network: bcdseg.Network) -> None:
        super().__init__()
        self.config, self.stride = network.config, network.stride
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> Output:
        return Output(20 * (image[:, :1] - 0.5) + self.anchor, image[:, 0, 0, :3] * 255 / 4 - 32)


@pytest.fixture(scope="module")
def model() -> Model:
    made = bcdseg.create("plain_cnn", classes=CLASSES)
    path = bcdseg.Preprocessing(resize="none", mean=(0,), std=(1,))
    return Model(Written(made.network), path, RULES, training={"summary": "made"}, name="written")  # type: ignore[arg-type]


def _site(folder: Path, each: int, seed: int, *, normals: int | None = None) -> Dataset:
    """Return scans of three classes with known posteriors: the network's logits are three times too large.

    Each scan has a bright lesion, which is false in a normal one, with a rim of 60 % that is not part of it.
    """
    rng = np.random.default_rng(seed)
    for number, label in enumerate(CLASSES):
        (folder / label).mkdir(parents=True)
        for at in range(each if number or normals is None else normals):
            evidence = rng.normal(size=3) + SEPARATION * np.eye(3)[number]
            pixels = rng.integers(0, 60, (32, 32)).astype(np.uint8)
            top, left = rng.integers(4, 12, 2)
            pixels[top : top + 14, left : left + 14] = 133
            pixels[top + 2 : top + 12, left + 2 : left + 12] = 230
            pixels[0, :3] = np.rint((TRUE_TEMPERATURE * SEPARATION * evidence + 32) * 4)
            mask = np.zeros((32, 32), np.uint8)
            if label != "normal":
                mask[top + 2 : top + 12, left + 2 : left + 12] = 255
            Image.fromarray(pixels).save(folder / label / f"{label} ({at}).png")
            Image.fromarray(mask).save(folder / label / f"{label} ({at})_mask.png")
    return bcdseg.open_dataset(folder)


@pytest.fixture(scope="module")
def fitted(model: Model, tmp_path_factory: pytest.TempPathFactory) -> bcdseg.SiteFit:
    return bcdseg.fit_site(model, _site(tmp_path_factory.mktemp("site") / "made", 60, 0), draws=200)


def test_what_the_scans_determine_is_found(fitted: bcdseg.SiteFit, model: Model) -> None:
    rules, changed = fitted.model.rules, {change.rule: change.changed for change in fitted.changes}
    assert rules.temperature == pytest.approx(TRUE_TEMPERATURE, rel=0.2)
    assert rules.threshold == 0.65
    assert rules.presence_threshold is not None
    assert 0.2 < rules.presence_threshold < 0.8
    assert changed["temperature"]
    assert changed["presence threshold"]
    assert changed["mask threshold"]
    assert {point.name for point in rules.operating_points} == {"sensitivity 0.9", "sensitivity 0.95", "specificity 0.9"}
    assert rules.conformal_coverage == 0.9
    assert model.rules == RULES
    for name in ("ece", "missed", "dice", "false_lesions"):
        effect = fitted.effects[name]
        assert effect.before.value is not None
        assert effect.after.low is not None
    assert fitted.effects["ece"].is_better
    assert fitted.effects["false_lesions"].before.value == 1
    assert fitted.effects["false_lesions"].is_better


def test_it_is_valid_for_new_scans_of_the_site(fitted: bcdseg.SiteFit, tmp_path: Path) -> None:
    new = _site(tmp_path / "new", 70, 1)
    found = list(fitted.model.predict([one.image for one in new]))
    labels = [str(one.label) for one in new]
    for name in CLASSES:
        covered = [label in scan.label_set for scan, label in zip(found, labels, strict=True) if label == name]
        assert np.mean(covered) == pytest.approx(0.9, abs=0.1)
    malignant = np.array([scan.probabilities["malignant"] for scan in found])[np.array(labels) == "malignant"]
    point = fitted.model.rules.operating_point("sensitivity 0.9")
    assert np.mean(malignant >= point.threshold) == pytest.approx(0.9, abs=0.1)
    false = np.mean([bool(scan.lesions) for scan, label in zip(found, labels, strict=True) if label == "normal"])
    stated = fitted.effects["false_lesions"].after
    assert stated.low is not None
    assert stated.high is not None
    assert stated.low - 0.1 < false < stated.high + 0.1


def test_what_few_scans_can_not_determine_is_kept_with_the_number_that_is_missing(model: Model, tmp_path: Path) -> None:
    fitted = bcdseg.fit_site(model, _site(tmp_path / "few", 6, 2), draws=200)
    assert fitted.model.rules == model.rules
    assert not any(change.changed for change in fitted.changes)
    reasons = {change.rule: change.reason for change in fitted.changes}
    assert "20 groups of scans with a lesion, not 12: 8 more are needed" in reasons["presence threshold"]
    assert "35 groups of malignant scans, not 6: 29 more are needed" in reasons["operating point “sensitivity 0.9”"]
    assert "35 groups of scans whose class is known, not 18: 17 more are needed" in reasons["label sets of all classes together"]
    assert "unchanged" in str(fitted.effects["dice"])


def test_scans_of_one_class_change_no_rule_of_classes(model: Model, tmp_path: Path) -> None:
    scans = _site(tmp_path / "made", 30, 4).filter(label="malignant")
    found = bcdseg.fit_site(model, scans, class_frequencies=True, draws=100)
    kept = {change.rule for change in found.changes if not change.changed and "all labels are malignant" in change.reason}
    assert kept == {"class frequencies", "temperature", "confidence threshold", "operating points", "label sets"}
    rules = found.model.rules
    assert (rules.temperature, rules.class_offsets, rules.min_confidence) == (1, (), RULES.min_confidence)
    assert (rules.conformal_thresholds, rules.operating_points) == ((), ())


def test_scans_of_which_none_is_positive_change_no_operating_point(model: Model, tmp_path: Path) -> None:
    scans = _site(tmp_path / "made", 20, 4).filter(label=["normal", "benign"])
    found = bcdseg.fit_site(model, scans, draws=100)
    (change,) = [change for change in found.changes if "operating point" in change.rule]
    assert (change.changed, found.model.rules.operating_points) == (False, ())
    assert "no labels are malignant" in change.reason


def test_rules_that_reach_what_they_state_are_kept(fitted: bcdseg.SiteFit, tmp_path: Path) -> None:
    again = bcdseg.fit_site(fitted.model, _site(tmp_path / "again", 60, 3), draws=200)
    kept = {change.rule for change in again.changes if not change.changed}
    assert {"temperature", "mask threshold"} <= kept


def test_class_probabilities_are_adapted_to_the_fraction_of_scans_without_a_lesion(model: Model, tmp_path: Path) -> None:
    """The network was made for classes of one frequency, so the true offset is the logarithm of the ratio of the frequencies."""
    site = _site(tmp_path / "site", 80, 6, normals=10)
    kept, adapted = (bcdseg.fit_site(model, site, class_frequencies=wanted, draws=200) for wanted in (False, True))
    assert kept.model.rules.class_offsets == ()
    assert "6 % of these scans are normal" in next(one.reason for one in kept.changes if one.rule == "class frequencies")
    offset, *others = adapted.model.rules.class_offsets
    assert offset == pytest.approx(np.log(10 / 80), abs=0.7)
    assert others == [0, 0]
    saved = json.loads((adapted.model.save(tmp_path / "adapted") / "config.json").read_text())
    assert Rules.from_dict(saved["rules"]) == adapted.model.rules
    assert adapted.model.rules.temperature == pytest.approx(TRUE_TEMPERATURE, rel=0.25)

    new = _site(tmp_path / "new", 160, 7, normals=20)
    found = {name: list(one.model.predict([scan.image for scan in new])) for name, one in (("kept", kept), ("adapted", adapted))}
    right = {name: np.mean([one.label == scan.label for one, scan in zip(each, new, strict=True)]) for name, each in found.items()}
    assert right["adapted"] > right["kept"]
    assert np.mean([one.probabilities["normal"] for one in found["adapted"]]) == pytest.approx(20 / 340, abs=0.03)
    outlined = {name: np.mean([bool(one.lesions) for one in each]) for name, each in found.items()}
    assert outlined["adapted"] == pytest.approx(outlined["kept"], abs=0.1)


def test_more_scans_without_a_lesion_must_not_lower_the_sensitivity(model: Model, tmp_path: Path) -> None:
    fitted = bcdseg.fit_site(model, _site(tmp_path / "site", 12, 8, normals=120), class_frequencies=True, draws=200)
    (change,) = (one for one in fitted.changes if one.rule == "class frequencies")
    assert not change.changed
    assert change.reason.startswith("Sensitivity for malignant, most probable class would change by -")
    assert fitted.model.rules.class_offsets == ()
    assert fitted.effects["sensitivity"].before == fitted.effects["sensitivity"].after


def test_the_fitted_offset_makes_the_mean_probability_of_its_class_the_fraction_of_its_scans() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(400, 3)) * 2, np.repeat([0, 1, 2], [20, 180, 200])
    temperature, offset = fit_offset(logits, labels, 0)
    powers = np.exp(logits / temperature + [offset, 0, 0])
    expected = (powers[:, 0] / powers.sum(axis=1)).sum()
    assert expected + offset / 10 == pytest.approx(20, abs=0.01)  # where the sum that it minimises has no slope
    assert fit_offset(logits, np.full(400, -1), 0) == (1.0, 0.0)
    assert -20 < fit_offset(logits[20:], labels[20:], 0)[1] < -4  # no scan has that class


def test_the_model_remembers_its_site(fitted: bcdseg.SiteFit, model: Model, tmp_path: Path) -> None:
    config = json.loads((fitted.model.save(tmp_path / "site") / "config.json").read_text())
    assert Rules.from_dict(config["rules"]) == fitted.model.rules
    assert "## Site" in fitted.model.card
    assert "temperature: changed" in fitted.model.card
    with pytest.raises(errors.LeakError):
        bcdseg.fit_site(fitted.model, _site(tmp_path / "same", 60, 0))
    assert "seen" not in model.training
    assert json.dumps(fitted.to_dict())
    assert "outlined" in repr(fitted)


def test_fit_keeps_the_rules_that_its_validation_scans_are_too_few_for(model: Model, tmp_path: Path) -> None:
    kept, changes = fit_class_rules(model, _site(tmp_path / "val", 2, 4))
    assert kept.rules == model.rules
    assert [change.rule for change in changes] == ["temperature", "confidence threshold"]
    assert "more are needed" in kept.training["calibration"]
    rules = replace(model.rules, threshold=0.4, presence_threshold=0.3, refinement=1.6)
    older = Model(model.network, model.preprocessing, rules, training=model.training)
    kept, changes = fit_class_rules(older, _site(tmp_path / "again", 2, 4), started_from="old")
    assert kept.rules == rules
    reasons = {change.rule: change.reason for change in changes if not change.changed}
    assert reasons.keys() == {"temperature", "confidence threshold", "mask threshold", "presence threshold", "refinement"}
    assert reasons["presence threshold"].startswith("0.3 from old: ")
    assert "presence threshold: kept; 0.3 from old" in kept.training["calibration"]


@pytest.mark.parametrize(("fraction", "groups"), [(0.5, 97), (0.9, 35), (0.95, 20), (0.99, 100)])
def test_the_groups_that_a_fraction_needs(fraction: float, groups: int) -> None:
    assert needed_groups(fraction) == groups
    if groups != 100:  # the least number of groups is 1 / (1 - f)
        reached = np.random.default_rng(0).beta(fraction * groups, (1 - fraction) * groups, 10_000)
        assert np.quantile(np.abs(reached - fraction), 0.95) < 0.11


def test_the_command_line_and_wrong_input(model: Model, tmp_path: Path) -> None:
    site = _site(tmp_path / "site", 4, 5)
    folder = bcdseg.create("plain_cnn", classes=CLASSES, size=32).save(tmp_path / "model")
    report = tmp_path / "report.json"
    arguments = [
        "fit-site",
        str(folder),
        str(tmp_path / "site"),
        "--out",
        str(tmp_path / "out"),
        "--draws",
        "50",
        "--class-frequencies",
    ]
    done = CliRunner().invoke(app, [*arguments, "--report", str(report)])
    assert done.exit_code == 0, done.output
    assert "more are needed" in done.stdout
    assert bcdseg.load(tmp_path / "out").rules == Rules()
    assert json.loads(report.read_text())["scans"] == 12
    assert isinstance(CliRunner().invoke(app, arguments).exception, errors.OutputExistsError)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before_the_scans = ["fit-site", str(folder), str(tmp_path / "missing"), "--out", str(tmp_path / "out"), "--overwrite"]
    with pytest.raises(errors.OutputExistsError, match="other files than a model's"):
        CliRunner().invoke(app, before_the_scans, catch_exceptions=False)
    for options, reason in (
        ({"coverage": 1.0}, "between 0 and 1"),
        ({"sensitivity": 2}, "above 0"),
        ({"sensitivity": 1}, "below 1"),
        ({"positive": "cyst"}, "cyst"),
    ):
        with pytest.raises(errors.OptionError, match=reason):
            bcdseg.fit_site(model, site, **options)  # type: ignore[arg-type]
    no_negative = bcdseg.create("plain_cnn", classes=CLASSES, no_lesion=None, size=32)
    with pytest.raises(errors.OptionError, match=r"class_frequencies: .* has no negative class"):
        bcdseg.fit_site(no_negative, site, class_frequencies=True)
    with pytest.raises(errors.OptionError, match=r"class_frequencies: .* has no labels"):
        bcdseg.fit_site(model, replace(site, samples=tuple(replace(one, label=None) for one in site)), class_frequencies=True)


def test_a_presence_threshold_stays_below_1_at_a_low_temperature() -> None:
    missing = np.full((30, 1), np.nan)
    table = SiteTable(cases=made_table(30, skill=9), thresholds=(0.5,), dice=missing, outlined=missing)
    moved = with_calibration(table, Rules(presence_threshold=0.99), Calibration(0.01))
    assert moved.presence_threshold is not None
    assert 0.99 < moved.presence_threshold < 1
