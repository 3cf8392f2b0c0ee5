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
from bcdseg.errors import ImageError
from bcdseg.evaluation.training_overlap import find_seen, refuse_seen, remember_scans
from bcdseg.model.registry import joint_training_overlap


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
    with pytest.raises(bcdseg.errors.LeakError, match="this image is in the training or validation data"):
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
def test_a_copy_that_was_saved_again_is_refused(tmp_path: Path, change: str) -> None:
    train = _written(tmp_path / "train", [scan(seed) for seed in range(4)])
    test = _written(tmp_path / "test", [scan(9), twin(scan(2), (change,), np.random.default_rng(0))])
    model = _model(remember_scans(train))
    with pytest.raises(
        bcdseg.errors.LeakError, match=r"1 of these 2 scans.*(?s:.)*benign.1\.png: a copy of it is in the training"
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


def test_a_model_without_stored_scans_is_not_refused_but_marked(data: bcdseg.Dataset) -> None:
    assert find_seen(_model(None), data) is None
    assert refuse_seen(_model(None), data) is False
    with pytest.raises(bcdseg.errors.ModelFileError, match="damaged"):
        refuse_seen(_model({"contents": []}), data)  # type: ignore[arg-type]


def test_a_scan_that_cannot_be_read_is_named_and_not_the_model(data: bcdseg.Dataset) -> None:
    data[0].image.write_bytes(b"no image")
    with pytest.raises(ImageError, match="benign"):
        bcdseg.evaluate(_model(remember_scans(data.select(data.ids[5:]))), data)


def test_a_record_with_unknown_parts_shows_no_absence_of_overlap(data: bcdseg.Dataset) -> None:
    train, test = data.select(data.ids[:5]), data.select(data.ids[5:])
    model = _model(remember_scans(train) | {"unknown": ["another model"]})
    assert find_seen(model, test) is None
    assert refuse_seen(model, test) is False
    assert {one.id for one in find_seen(model, data) or ()} == set(train.ids)
    with pytest.raises(bcdseg.errors.InputError, match="can't be excluded"):
        bcdseg.exclude_training_samples(model, data)


def test_patients_of_another_hospital_with_the_same_numbers_are_reported_apart(data: bcdseg.Dataset) -> None:
    numbered = _grouped(data, {one: str(at % 3) for at, one in enumerate(data.ids)})
    train, other = numbered.select(data.ids[:3]), numbered.select(data.ids[3:])
    model, advice = _model(remember_scans(train)), r"6 of them are new images .* If they are from another hospital, .*name="
    with pytest.raises(bcdseg.errors.LeakError, match=advice):
        refuse_seen(model, other)
    with pytest.warns(bcdseg.errors.LeakWarning, match=f"{advice}.* They were left out"):
        assert not len(bcdseg.exclude_training_samples(model, other))
    assert bcdseg.exclude_training_samples(model, replace(other, name="hospital B")).ids == other.ids


def test_only_callers_that_can_allow_training_scans_name_the_option(data: bcdseg.Dataset) -> None:
    model = _model(remember_scans(data))
    with pytest.raises(bcdseg.errors.LeakError, match="allow_training_samples=True"):
        bcdseg.evaluate(model, data, draws=0, gallery=0)
    with pytest.raises(bcdseg.errors.LeakError, match="Exclude them") as caught:
        bcdseg.fit_site(model, data)
    assert "allow" not in str(caught.value)


def test_calibration_warns_of_training_scans_and_accepts_validation_scans(data: bcdseg.Dataset) -> None:
    train, val = data.select(data.ids[::2]), data.select(data.ids[1::2])
    model = _model(remember_scans(train, val, validation=val))
    bcdseg.calibrate(model, val)
    with pytest.warns(bcdseg.errors.LeakWarning, match="5 of these 9 scans"):
        bcdseg.calibrate(model, data)


def test_a_validation_scan_that_a_later_run_trained_on_is_a_training_scan(data: bcdseg.Dataset) -> None:
    train, val, rest = (data.select(data.ids[start::3]) for start in range(3))  # each has all classes
    first = _model(remember_scans(train, val, validation=val))
    second = _model(joint_training_overlap([first], also=remember_scans(val, rest, validation=rest)))
    bcdseg.calibrate(second, rest)
    for part in (train, val):
        with pytest.warns(bcdseg.errors.LeakWarning, match="3 of these 3 scans"):
            bcdseg.calibrate(second, part)
