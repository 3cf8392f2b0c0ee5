"""Overlap of scans with the training data of a model: it is refused, excluded or allowed on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import busi
from made_twins import scan, twin, write
from PIL import Image

import bcdseg
from bcdseg.evaluation.training_overlap import find_seen, refuse_seen, remember_scans


@pytest.fixture
def data(tmp_path: Path) -> bcdseg.Dataset:
    return bcdseg.open_dataset(busi(tmp_path / "made", (3, 3, 3)))


def _model(seen: dict[str, list[str]] | None) -> bcdseg.Model:
    model = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32)
    model.training = {} if seen is None else {"seen": seen}
    return model


def _grouped(data: bcdseg.Dataset, groups: dict[str, str]) -> bcdseg.Dataset:
    return replace(data, samples=tuple(replace(one, group=groups.get(one.id)) for one in data))


def test_disjoint_parts_pass_and_a_shared_scan_is_named(data: bcdseg.Dataset, tmp_path: Path) -> None:
    train, test = data.select(data.ids[:5]), data.select(data.ids[5:])
    model = _model(remember_scans(train))
    assert refuse_seen(model, test)
    with pytest.raises(bcdseg.errors.LeakError) as caught:
        refuse_seen(model, data)
    assert all(one in str(caught.value) for one in train.ids)
    assert not any(one in str(caught.value) for one in test.ids)
    copy = busi(tmp_path / "renamed", (1, 1, 1)) / "benign" / "other.bmp"  # the same pixels under another name and format
    Image.fromarray(np.asarray(Image.open(train[-1].image))).save(copy)
    moved = replace(test, samples=(replace(test[0], image=copy),))
    with pytest.raises(bcdseg.errors.LeakError, match="chosen on this image"):
        refuse_seen(model, moved)


def test_a_shared_group_is_refused_also_through_combined_data_sets_and_joined_patients(data: bcdseg.Dataset) -> None:
    grouped = _grouped(data, {data.ids[0]: "anna + berta", data.ids[-1]: "berta", data.ids[-2]: "clara"})
    train, test, other = grouped.select(data.ids[:4]), grouped.select(data.ids[-1:]), grouped.select(data.ids[-2:-1])
    for seen in (remember_scans(train), remember_scans(bcdseg.combine(train, replace(other, name="elsewhere")))):
        with pytest.raises(bcdseg.errors.LeakError, match="group 'berta'"):
            refuse_seen(_model(seen), test)
    assert refuse_seen(_model(remember_scans(train)), other)
    assert refuse_seen(_model(remember_scans(train)), replace(test, name="another hospital"))  # whose Berta is another


def test_a_model_keeps_hashes_only_and_through_saving(data: bcdseg.Dataset, tmp_path: Path) -> None:
    model = _model(remember_scans(_grouped(data, dict.fromkeys(data.ids, "mrs-smith"))))
    folder = model.save(tmp_path / "model")
    written = (folder / "config.json").read_text() + (folder / "README.md").read_text()
    assert not any(word in written for word in ("smith", "benign (1)", str(tmp_path)))
    again = bcdseg.load(folder)
    assert len(find_seen(again, data) or ()) == len(data)
    assert set(json.loads((folder / "config.json").read_text())["training"]["seen"]) == {"contents", "fingerprints", "groups"}


@pytest.mark.parametrize("change", ["resized", "mirrored", "recompressed", "calipers"])
def test_a_copy_that_was_saved_anew_is_refused(tmp_path: Path, change: str) -> None:
    train = _written(tmp_path / "train", [scan(seed) for seed in range(4)])
    test = _written(tmp_path / "test", [scan(9), twin(scan(2), (change,), np.random.default_rng(0))])
    model = _model(remember_scans(train))
    with pytest.raises(
        bcdseg.errors.LeakError, match=r"1 of these 2 scans.*(?s:.)*benign.1\.png: the model was trained or chosen on a copy of it"
    ) as caught:
        refuse_seen(model, test)
    assert "benign/0.png" not in str(caught.value)
    assert bcdseg.exclude_training_samples(model, test).ids == ("benign/0.png",)


def test_the_unseen_is_what_can_be_measured_on(data: bcdseg.Dataset) -> None:
    train, test = data.select(data.ids[:5]), data.select(data.ids[5:])
    model = _model(remember_scans(train))
    rest = bcdseg.exclude_training_samples(model, data)
    assert rest.ids == test.ids
    assert refuse_seen(model, rest)
    with pytest.raises(bcdseg.errors.InputError, match="doesn't store all scans"):
        bcdseg.exclude_training_samples(_model(None), data)


def _written(folder: Path, pictures: list[np.ndarray]) -> bcdseg.Dataset:
    samples = write(folder, {f"benign/{at}.png": one for at, one in enumerate(pictures)}, {})
    return bcdseg.Dataset(tuple(replace(one, label="benign") for one in samples), folder.name)


def test_a_model_that_says_nothing_is_not_refused_but_told_apart(data: bcdseg.Dataset) -> None:
    assert find_seen(_model(None), data) is None
    assert refuse_seen(_model(None), data) is False
    with pytest.raises(bcdseg.errors.ModelFileError, match="damaged"):
        refuse_seen(_model({"contents": []}), data)  # type: ignore[arg-type]


def test_a_record_with_unknown_parts_shows_no_absence_of_overlap(data: bcdseg.Dataset) -> None:
    train, test = data.select(data.ids[:5]), data.select(data.ids[5:])
    model = _model(remember_scans(train) | {"unknown": ["another model"]})
    assert find_seen(model, test) is None
    assert refuse_seen(model, test) is False
    assert {one.id for one in find_seen(model, data) or ()} == set(train.ids)
    with pytest.raises(bcdseg.errors.InputError, match="can't be excluded"):
        bcdseg.exclude_training_samples(model, data)
