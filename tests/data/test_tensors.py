"""Data sets as tensors: what an item contains, against the library's own preprocessing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import busi
from torch.utils.data import DataLoader

import bcdseg
from bcdseg.data.dataset import Dataset
from bcdseg.data.opening import open_dataset
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import DatasetError, OptionError

PREPROCESSING = Preprocessing(size=(32, 40), stride=8)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    data = open_dataset(busi(tmp_path, (2, 2, 2)))
    changes: list[dict[str, Any]] = [{}, {"label": None}, {"masks": ()}, {"group": "p"}, {"group": "p"}, {"masks": ()}]
    return replace(data, samples=tuple(replace(sample, **change) for sample, change in zip(data, changes, strict=True)))


def test_items_are_prepared_as_for_prediction(data: Dataset) -> None:
    tensors = data.to_torch(PREPROCESSING, negative_class="normal")
    assert len(tensors) == 6
    for number, sample in enumerate(data):
        item = tensors[number]
        pixels, mask = data.read(sample)
        np.testing.assert_array_equal(item["image"], PREPROCESSING(pixels).array)
        assert item["id"] == sample.id
        assert item["has_mask"] == (mask is not None or sample.label == "normal")
        expected = np.zeros((32, 40)) if mask is None else PREPROCESSING.framed_mask(mask)
        np.testing.assert_array_equal(item["mask"][0], expected)
    labels = [tensors[number]["label"] for number in range(6)]
    assert labels == [-1 if sample.label is None else data.classes.index(sample.label) for sample in data]
    groups = [tensors[number]["group"] for number in range(6)]
    assert groups[3] == groups[4]
    assert len(set(groups)) == 5


def test_a_loader_makes_batches(data: Dataset) -> None:
    batch = next(iter(DataLoader(data.to_torch(PREPROCESSING), batch_size=6)))
    assert batch["image"].shape == batch["mask"].shape == (6, 1, 32, 40)
    assert batch["image"].dtype == batch["mask"].dtype == torch.float32
    assert batch["has_mask"].dtype == torch.bool
    assert batch["id"] == list(data.ids)
    loss = torch.nn.functional.cross_entropy(torch.zeros(6, 3), batch["label"], ignore_index=-1)
    assert loss.item() == pytest.approx(np.log(3))


def test_a_transform_changes_items(data: Dataset) -> None:
    tensors = data.to_torch(PREPROCESSING, transform=lambda item: {**item, "image": item["image"].flip(-1)})
    assert torch.equal(tensors[0]["image"], data.to_torch(PREPROCESSING)[0]["image"].flip(-1))


def test_classes_are_checked(data: Dataset) -> None:
    with pytest.raises(DatasetError, match="'benign' is not one of the classes normal, malignant"):
        data.to_torch(PREPROCESSING, classes=["normal", "malignant"])
    with pytest.raises(OptionError, match="negative_class='healthy'"):
        data.to_torch(PREPROCESSING, negative_class="healthy")
    assert data.filter(label="malignant").to_torch(PREPROCESSING, classes=["benign", "malignant"])[0]["label"] == 1


def test_scans_without_a_lesion_have_an_empty_mask_in_training_and_evaluation(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path, (2, 2, 2), second_mask=False))
    missing = ("benign/benign (1).png", "normal/normal (1).png")
    data = replace(data, samples=tuple(replace(one, masks=() if one.id in missing else one.masks) for one in data))
    model = bcdseg.create("plain_cnn", classes=data.classes, size=32)
    known = [sample.label == "normal" or bool(sample.masks) for sample in data]
    tensors = data.to_torch(model.preprocessing, classes=model.classes, negative_class="normal")
    assert [tensors[number]["has_mask"] for number in range(len(data))] == known
    assert sum(known) == 5
    assert list(bcdseg.evaluate(model, data, draws=0).cases.has_mask) == known
