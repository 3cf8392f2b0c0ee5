"""A model is not measured on what it was trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import busi
from PIL import Image

import bcdseg
from bcdseg.evaluation.seen import find_seen, refuse_seen, remember


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
    model = _model(remember(train))
    assert refuse_seen(model, test)
    with pytest.raises(bcdseg.errors.LeakError) as caught:
        refuse_seen(model, data)
    assert all(one in str(caught.value) for one in train.ids)
    assert not any(one in str(caught.value) for one in test.ids)
    copy = busi(tmp_path / "renamed", (1, 1, 1)) / "benign" / "other.bmp"  # the same pixels under another name and format
    Image.fromarray(np.asarray(Image.open(train[-1].image))).save(copy)
    moved = replace(test, samples=(replace(test[0], image=copy),))
    with pytest.raises(bcdseg.errors.LeakError, match="this very picture"):
        refuse_seen(model, moved)


def test_a_shared_group_is_refused_also_through_combined_data_sets_and_joined_patients(data: bcdseg.Dataset) -> None:
    grouped = _grouped(data, {data.ids[0]: "anna + berta", data.ids[-1]: "berta", data.ids[-2]: "clara"})
    train, test, other = grouped.select(data.ids[:4]), grouped.select(data.ids[-1:]), grouped.select(data.ids[-2:-1])
    for seen in (remember(train), remember(bcdseg.combine(train, replace(other, name="elsewhere")))):
        with pytest.raises(bcdseg.errors.LeakError, match="group 'berta'"):
            refuse_seen(_model(seen), test)
    assert refuse_seen(_model(remember(train)), other)
    assert refuse_seen(_model(remember(train)), replace(test, name="another hospital"))  # whose Berta is another


def test_a_model_keeps_hashes_only_and_through_saving(data: bcdseg.Dataset, tmp_path: Path) -> None:
    model = _model(remember(_grouped(data, dict.fromkeys(data.ids, "mrs-smith"))))
    folder = model.save(tmp_path / "model")
    written = (folder / "config.json").read_text() + (folder / "README.md").read_text()
    assert not any(word in written for word in ("smith", "benign (1)", str(tmp_path)))
    again = bcdseg.load(folder)
    assert len(find_seen(again, data) or ()) == len(data)
    assert set(json.loads((folder / "config.json").read_text())["training"]["seen"]) == {"contents", "groups"}


def test_a_model_that_says_nothing_is_not_refused_but_told_apart(data: bcdseg.Dataset) -> None:
    assert find_seen(_model(None), data) is None
    assert refuse_seen(_model(None), data) is False
    with pytest.raises(bcdseg.errors.ModelFileError, match="damaged"):
        refuse_seen(_model({"contents": []}), data)  # type: ignore[arg-type]
