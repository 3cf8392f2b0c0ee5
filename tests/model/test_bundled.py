"""The models in the package: they are small and trained, and their cards match them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from bundled_figures import SAMPLE, SCANS, figures, read_table
from PIL import Image
from typer.testing import CliRunner

import bcdseg
from bcdseg.cli import app
from bcdseg.data.images import read_image
from bcdseg.evaluation.training_overlap import find_seen
from bcdseg.model.registry import BUNDLED, model_names

NAMES = ("bus-multi", "busi-lite")
SEEN = {"bus-multi": 1994, "busi-lite": 584}


@pytest.fixture(scope="module", params=NAMES)
def predictions(request: pytest.FixtureRequest) -> list[bcdseg.Prediction]:
    return list(bcdseg.load(request.param).predict(SCANS))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_inside_the_package_and_small(name: str) -> None:
    assert model_names() == NAMES
    assert sum(file.stat().st_size for file in (BUNDLED / name).iterdir()) < 15e6
    assert bcdseg.load(name).classes == ("normal", "benign", "malignant")
    assert bcdseg.load("bus-multi").name == bcdseg.load().name


@pytest.mark.parametrize("record", bcdseg.models(), ids=str)
def test_its_record_is_the_model_that_loads(record: bcdseg.ModelRecord) -> None:
    model = bcdseg.load(record.name)
    assert (record.classes, record.encoder) == (model.classes, model.network.config.encoder)
    assert record.preprocessing == model.preprocessing
    assert hashlib.sha256(record.file.read_bytes()).hexdigest() == record.sha256
    assert record.licence in model.card
    assert record.citation in model.card
    output = CliRunner().invoke(app, ["models"]).output
    default = " (the default)" * (record.name == "bus-multi")
    assert f"{record.name}{default}: {record.summary}" in output
    assert record.sha256 in output


def test_there_are_scans_of_all_classes_with_masks() -> None:
    assert len(SCANS) == 18
    assert {scan.parent.name for scan in SCANS} == {"normal", "benign", "malignant"}
    assert all(scan.with_name(f"{scan.stem}_mask.png").exists() for scan in SCANS)


def test_it_is_trained(predictions: list[bcdseg.Prediction]) -> None:
    """Check that figures are far above chance on scans it has not seen, and that the card has them."""
    right = [scan.label == Path(scan.source).parent.name for scan in predictions]
    assert np.mean(right) >= 0.6
    dice = [_dice(scan) for scan in predictions if Path(scan.source).parent.name != "normal"]
    assert np.mean(dice) >= 0.55


def test_its_predictions_are_those_that_were_released(predictions: list[bcdseg.Prediction]) -> None:
    """Detect a change of any step of prediction; after an intended one, ``bundled_figures.py`` writes the table again."""
    for found, released in zip(map(figures, predictions), read_table(predictions[0].model), strict=True):
        assert found == {
            **released,
            "area_px": pytest.approx(released["area_px"], rel=0.01, abs=5),
            "probability": pytest.approx(released["probability"], abs=0.005),
        }


def test_it_is_the_same_at_another_size(predictions: list[bcdseg.Prediction]) -> None:
    """Check that the prediction does not depend on the size in pixels."""
    model = bcdseg.load(predictions[0].model)
    for scan in predictions[::3]:
        height, width = scan.size
        larger = Image.fromarray(read_image(scan.source)).resize((width * 2, height * 2), Image.Resampling.BILINEAR)
        again = model.predict(larger)
        assert again.mask_probability is not None
        assert scan.mask_probability is not None
        assert np.abs(again.mask_probability[::2, ::2] - scan.mask_probability).mean() < 0.02


@pytest.mark.parametrize(("name", "licence"), [("busi-lite", "apache-2.0"), ("bus-multi", "cc-by-nc-4.0")])
def test_the_card_in_the_folder_is_the_one_that_the_model_writes(name: str, licence: str) -> None:
    card = (BUNDLED / name / "README.md").read_text(encoding="utf-8")
    assert card == bcdseg.load(name).card
    for needed in ("Not a medical device", "10.1016/j.dib.2019.104863", "Dice |", "## Limits", licence):
        assert needed in card
    assert re.search(r"\| [Aa]ccuracy \| 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", card)


@pytest.mark.parametrize("name", NAMES)
def test_it_stores_its_training_scans_without_the_samples(name: str) -> None:
    """Check every scan of training and validation, and no near copy of the others."""
    model = bcdseg.load(name)
    seen = model.training["seen"]
    assert len(set(seen["contents"])) == SEEN[name]
    assert 0 < len(set(seen["fingerprints"])) <= SEEN[name]
    assert find_seen(model, bcdseg.open_dataset(SAMPLE)) == ()


def _dice(scan: bcdseg.Prediction) -> float:
    source = Path(scan.source)
    truth = read_image(source.with_name(f"{source.stem}_mask.png")) > 127
    assert scan.mask is not None
    return float(2 * (scan.mask & truth).sum() / (scan.mask.sum() + truth.sum()))


def test_the_figures_in_the_readme_are_those_of_the_cards() -> None:
    cards = "".join(bcdseg.load(name).card for name in NAMES)
    section = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").partition("## The bundled models")[2]
    figures = re.findall(r"0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", section)
    assert len(figures) >= 20
    assert not [figure for figure in figures if figure not in cards]
