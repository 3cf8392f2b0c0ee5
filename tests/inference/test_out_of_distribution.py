"""The out-of-distribution score of the bundled models, and its fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import bcdseg
from bcdseg.errors import ModelFileError
from bcdseg.inference.out_of_distribution import (
    describe_images,
    describe_training_images,
    image_statistics,
    shrunk_covariance,
    upside_down,
)

SCANS = sorted(path for path in (Path(__file__).parents[2] / "data/sample").glob("*/*.png") if "_mask" not in path.name)


@pytest.fixture(scope="module", params=["bus-multi", "busi-lite"])
def model(request: pytest.FixtureRequest) -> bcdseg.Model:
    return bcdseg.load(request.param)


def _codes(prediction: bcdseg.Prediction) -> set[str]:
    return {flag.code for flag in prediction.flags} & {"out-of-distribution", "upside-down"}


def test_no_sample_scan_is_out_of_distribution(model: bcdseg.Model) -> None:
    for scan in model.predict(SCANS):
        assert not _codes(scan), scan.source
        assert scan.ood_score is not None
        assert 0 < scan.ood_score < 1


@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "coins", "page", "text", "brick"])
def test_photographs_and_documents_are(model: bcdseg.Model, name: str) -> None:
    scan = model.predict(getattr(data, name)())
    assert "out-of-distribution" in _codes(scan)
    assert scan.ood_score is not None
    assert scan.ood_score >= 1


def test_turned_and_inverted_scans_get_a_warning(model: bcdseg.Model) -> None:
    gray = [np.array(Image.open(path).convert("L")) for path in SCANS]
    assert all("out-of-distribution" in _codes(model.predict(np.rot90(one).copy())) for one in gray)
    assert sum("upside-down" in _codes(model.predict(one[::-1].copy())) for one in gray) >= 0.9 * len(gray)
    assert sum("out-of-distribution" in _codes(model.predict(255 - one)) for one in gray) >= 0.8 * len(gray)


def test_the_score_is_in_the_table_and_survives_saving(tmp_path: Path) -> None:
    model = bcdseg.load()
    model.save(tmp_path / "copy")
    before, after = model.predict(SCANS[0]), bcdseg.load(tmp_path / "copy").predict(SCANS[0])
    assert after.ood_score == before.ood_score
    assert before.to_dict()["ood_score"] == round(before.ood_score or 0, 4)


def test_a_model_without_statistics_has_no_score() -> None:
    bundled = bcdseg.load()
    plain = bcdseg.Model(bundled.network, bundled.preprocessing, dataclasses.replace(bundled.rules, training_images=()))
    scan = plain.predict(data.coffee())
    assert scan.ood_score is None
    assert not _codes(scan)


def test_a_damaged_record_of_training_images_is_reported(tmp_path: Path) -> None:
    saved = bcdseg.load().save(tmp_path / "model")
    text = (saved / "config.json").read_text()
    (saved / "config.json").write_text(text.replace('"spread": [', '"spread": [-1,', 1))
    with pytest.raises(ModelFileError, match="statistics"):
        bcdseg.load(saved)


def test_the_covariance_is_that_of_scikit_learn() -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 39)) @ rng.normal(size=(39, 39))
    rows -= rows.mean(axis=0)
    expected = covariance.LedoitWolf(assume_centered=True).fit(rows).covariance_
    np.testing.assert_allclose(shrunk_covariance(rows), expected, rtol=1e-10)


def test_turning_the_statistics_is_turning_the_image() -> None:
    pixels = np.array(Image.open(SCANS[0]).convert("L"))[:160, :160]
    np.testing.assert_allclose(upside_down(image_statistics(pixels)), image_statistics(pixels[::-1].copy()), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (9, 9)])
@pytest.mark.parametrize("value", [0, 255])
def test_blank_and_tiny_images_have_finite_statistics(shape: tuple[int, int], value: int) -> None:
    assert np.isfinite(image_statistics(np.full(shape, value, np.uint8))).all()


def test_few_training_images_describe_nothing_and_many_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (tmp_path / label).mkdir()
        for number in range(50):
            Image.fromarray(rng.integers(0, 120, (32, 40), np.uint8)).save(tmp_path / label / f"{number:02}.png")
    dataset = bcdseg.open_dataset(tmp_path)
    assert describe_training_images(dataset.select(dataset.ids[:99])) == ()
    (found,) = describe_training_images(dataset)
    assert found.images == 100
    assert found.distance(image_statistics(rng.integers(0, 120, (32, 40), np.uint8))) < found.threshold
    assert found.distance(image_statistics(np.full((32, 40), 200, np.uint8))) > found.threshold
    assert describe_images(np.zeros((0, 39))) is None
