"""Cross-validation of one recipe: its folds, what is pooled, and that it resumes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest

import bcdseg
from bcdseg.errors import LeakError, OptionError, OutputExistsError
from bcdseg.training.recipes import Recipe

COPIES = [[f"benign/benign ({at}).png", f"benign/benign ({at + 6}).png"] for at in range(2, 5)]
RECIPE = Recipe(
    name="tiny",
    summary="",
    source="",
    network={"encoder": "plain_cnn", "size": 32, "decoder_channels": (16, 8, 8, 4, 4)},
    training={"epochs": 1, "batch_size": 16, "calibrate": False, "pictures": False},
)
QUICK: dict[str, Any] = {"progress": False, "device": "cpu", "workers": 0, "draws": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Dataset:
    return bcdseg.open_dataset(made.busi(tmp_path_factory.mktemp("busi"), (8, 10, 8)))


@pytest.fixture(scope="module")
def finished(data: bcdseg.Dataset, tmp_path_factory: pytest.TempPathFactory) -> bcdseg.CrossValidation:
    out = tmp_path_factory.mktemp("cv")
    return bcdseg.cross_validate(RECIPE, data, 2, out=out, duplicates=COPIES, **QUICK)


def test_each_scan_is_predicted_once_and_measures_are_pooled_and_by_fold(
    finished: bcdseg.CrossValidation, data: bcdseg.Dataset
) -> None:
    assert sorted(finished.cases.ids) == sorted(data.ids)
    right = [fold.cases.labels == fold.cases.probabilities.argmax(axis=1) for fold in finished.entry.folds]
    shares = [float(one.mean()) for one in right]
    assert finished.by_fold["accuracy"] == pytest.approx(shares)
    assert finished.estimates["accuracy"].value == pytest.approx(np.concatenate(right).mean())
    assert finished.mean("accuracy") == pytest.approx(np.mean(shares))
    assert finished.sd("accuracy") == pytest.approx(abs(shares[0] - shares[1]) / np.sqrt(2))
    with pytest.raises(OptionError, match="is not a measure of this cross-validation; it has"):
        finished.mean("dices")


def test_the_result_is_shown_and_written_as_a_table(finished: bcdseg.CrossValidation) -> None:
    assert re.search(r"tiny on busi\d+: 2 folds", repr(finished))
    assert (finished.folder / "cross-validation.md").read_text("utf-8") == finished.table()
    assert "SD over folds" in finished.table()
    assert "Dice" in finished._repr_html_()
    assert all((finished.folder / "tiny" / f"fold-{number}" / "run" / "model").is_dir() for number in (1, 2))


def test_a_finished_cross_validation_is_not_trained_again(finished: bcdseg.CrossValidation, data: bcdseg.Dataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("result.json")}
    again = bcdseg.cross_validate(RECIPE, data, 2, out=finished.folder, duplicates=COPIES, **QUICK)
    assert again.estimates == finished.estimates
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("result.json")} == before


def test_a_mask_that_has_changed_since_is_refused(data: bcdseg.Dataset, finished: bcdseg.CrossValidation) -> None:
    mask = data["benign/benign (2).png"].masks[0]
    before = mask.read_bytes()
    try:
        made.save(mask, np.ones(made.SIZE, bool))
        with pytest.raises(OutputExistsError, match=r"earlier contents of .*benign \(2\)"):
            bcdseg.cross_validate(RECIPE, data, 2, out=finished.folder, duplicates=COPIES, **QUICK)
    finally:
        mask.write_bytes(before)


def test_folds_that_are_drawn_already_are_used_as_they_are(data: bcdseg.Dataset, tmp_path: Path) -> None:
    pairs = bcdseg.folds(data, 2, seed=7, duplicates=COPIES)
    found = bcdseg.cross_validate(RECIPE, data, pairs, out=tmp_path, duplicates=COPIES, **QUICK)
    assert [sorted(fold.cases.ids) for fold in found.entry.folds] == [sorted(test.ids) for _, test in pairs]


def test_folds_with_a_leak_or_without_a_scan_are_refused(data: bcdseg.Dataset, tmp_path: Path) -> None:
    first, second = bcdseg.folds(data, 2, seed=7, duplicates=())
    torn = [[first[0].ids[0], first[1].ids[0]]]
    with pytest.raises(LeakError, match="fold 1 has groups on both sides"):
        bcdseg.cross_validate(RECIPE, data, [first, second], out=tmp_path, duplicates=torn, **QUICK)
    with pytest.raises(OptionError, match="Give two or more"):
        bcdseg.cross_validate(RECIPE, data, [first, first], out=tmp_path, duplicates=(), **QUICK)
    half = second[0], second[1].select(second[1].ids[1:])
    with pytest.raises(OptionError, match="no test part contains"):
        bcdseg.cross_validate(RECIPE, data, [first, half], out=tmp_path, duplicates=(), **QUICK)
    with pytest.raises(OptionError, match="'busi-v1'"):
        bcdseg.cross_validate(RECIPE, data, "busi-v9", out=tmp_path, **QUICK)
    assert not list(tmp_path.iterdir())
