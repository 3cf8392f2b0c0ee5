"""Models, splits and configs that an earlier version saved: they load, and mean the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bcdseg

SAVED = Path(__file__).parent / "saved_by_0_1_0"


def test_a_model_saved_by_an_earlier_version_predicts_the_same() -> None:
    expected = json.loads((SAVED / "expected.json").read_text())
    scan = bcdseg.sample_scans() / "malignant" / "malignant (13).png"
    predicted = bcdseg.load(SAVED / "model", runtime="torch", device="cpu").predict(scan)
    assert predicted.probabilities == pytest.approx(expected["probabilities"], abs=1e-4)
    assert predicted.mask_probability is not None
    assert predicted.mask_probability.mean() == pytest.approx(expected["mask_probability"], abs=1e-4)
    assert len(predicted.lesions) == expected["lesions"]


def test_a_split_saved_by_an_earlier_version_divides_the_same_scans() -> None:
    data = bcdseg.open_dataset(bcdseg.sample_scans())
    stored = json.loads((SAVED / "split.json").read_text())
    train, val, test = bcdseg.load_split(SAVED / "split.json", data)
    assert sorted((*train.ids, *val.ids, *test.ids)) == sorted(data.ids)
    assert {"train": len(train), "val": len(val), "test": len(test)} == {
        part: sum(one["part"] == part for one in stored["samples"]) for part in ("train", "val", "test")
    }


def test_a_config_saved_by_an_earlier_version_sets_the_same_options() -> None:
    config = bcdseg.read_config(SAVED / "config.toml")
    assert (config.epochs, config.batch_size, config.optimizer, config.lr) == (1, 4, "adamw", 0.001)
