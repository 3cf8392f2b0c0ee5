"""Augmentation in training: geometry moves scan and mask together, and a user's pipeline is checked first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
import torch
from drawn import draw_ellipse

import bcdseg
from bcdseg import Dataset, Preprocessing, Sample, errors

pytest.importorskip("albumentations", reason="extra train is not installed")

import albumentations as A
from monai import transforms as monai

from bcdseg.training.config import AUGMENT, FitConfig
from bcdseg.training.data.loaders import set_epoch, training_loader

QUICK = FitConfig(batch_size=2, workers=0, seed=1)
RAW = Preprocessing(size=(64, 64), mean=(0.0,), std=(1.0,))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return scans that are their own masks, so that geometry is visible in both."""
    folder = tmp_path_factory.mktemp("shapes")
    samples = []
    for number, centre in enumerate([(24, 30), (36, 28)]):
        mask = draw_ellipse((64, 64), centre, (12, 18))
        image, outline = made.save(folder / f"{number}.png", mask), made.save(folder / f"{number}_mask.png", mask)
        samples.append(Sample(id=f"{number}.png", image=image, masks=(outline,), label="benign"))
    return Dataset(tuple(samples), "shapes")


def _loader(data: Dataset, augment: Any = None, preprocessing: Preprocessing = RAW, **options: Any) -> Any:
    config = replace(QUICK, **options)
    return training_loader(data, preprocessing=preprocessing, classes=("benign",), no_lesion=None, config=config, augment=augment)


def _drawn(loader: Any, epochs: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    images, masks = [], []
    for epoch in range(epochs):
        set_epoch(loader, epoch)
        for batch in loader:
            images.append(batch.image)
            masks.append(batch.truth.mask)
    return torch.cat(images), torch.cat(masks)


def _overlap(images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    bright = images > 0.5
    both, total = (bright & (masks > 0)).sum(dim=(1, 2, 3)), bright.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    return 2 * both / total


@pytest.mark.parametrize(
    "augment",
    [
        "flip-rotate-zoom",
        "shift-shear-zoom-flip",
        A.Compose([A.Affine(rotate=(-30, 30), p=1), A.ElasticTransform(alpha=20, sigma=4, p=1)]),
        monai.Compose([monai.RandFlipd(("image", "mask"), prob=0.5), monai.RandRotated(("image", "mask"), 0.5, prob=1.0)]),
    ],
    ids=["flip-rotate-zoom", "shift-shear-zoom-flip", "own albumentations", "own MONAI"],
)
def test_geometry_moves_scan_and_mask_together(shapes: Dataset, augment: Any) -> None:
    own = {} if isinstance(augment, str) else {"augment": augment}
    loader = (
        _loader(shapes, **own)
        if own
        else training_loader(shapes, preprocessing=RAW, classes=("benign",), no_lesion=None, config=replace(QUICK, augment=augment))
    )
    images, masks = _drawn(loader)
    assert _overlap(images, masks).min() > 0.93
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert len({mask.numpy().tobytes() for mask in masks}) > 10
    again, _ = _drawn(loader)
    assert torch.equal(images, again)


@pytest.mark.parametrize("augment", [name for name in AUGMENT if name != "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_set_keeps_size_and_range(shapes: Dataset, augment: str, channels: int) -> None:
    preprocessing = Preprocessing(size=(48, 80), channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels, stride=16)
    config = replace(QUICK, augment=augment)
    loader = training_loader(shapes, preprocessing=preprocessing, classes=("benign",), no_lesion=None, config=config)
    images, masks = _drawn(loader, 20)
    assert images.shape[1:] == (channels, 48, 80)
    assert masks.shape[1:] == (1, 48, 80)
    assert images.min() >= 0
    assert images.max() <= 1
    assert len({image.numpy().tobytes() for image in images}) > 15


def test_own_pipelines_see_the_models_channels(shapes: Dataset) -> None:
    colour = Preprocessing(size=(64, 64), channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    own = A.Compose([A.ToSepia(p=1)])
    image = next(iter(_loader(shapes, own, colour))).image[0]
    assert not torch.equal(image[0], image[2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (A.Compose([A.CenterCrop(32, 32)]), r"for .*0\.png it returns an image of 32x32 uint8 where 64x64 is needed"),
        (A.Compose([A.Normalize(mean=0.5, std=0.5)]), "float32: leave scaling and normalisation"),
        (monai.Compose([monai.Resized(("image", "mask"), (16, 16))]), "returns an image of 16x16 float32"),
        (monai.Compose([monai.Resized(("mask",), (16, 16))]), "returns a mask of 16x16"),
        (monai.Compose([monai.RandFlipd(("scan",), prob=1.0)]), r"fails on 0\.png.*scan"),
        (A.HorizontalFlip(), "HorizontalFlip: give one of default, light.* or a Compose"),
    ],
)
def test_errors_of_an_own_pipeline_are_reported_before_training(shapes: Dataset, wrong: Any, message: str) -> None:
    with pytest.raises(errors.OptionError, match=message):
        _loader(shapes, wrong)


def test_augmentation_differs_between_epochs_and_between_draws_of_one_scan(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.busi(tmp_path, (1, 6, 1)))
    config = replace(QUICK, batch_size=8, balance="sample", augment="light")
    loader = training_loader(data, preprocessing=RAW, classes=data.classes, no_lesion="normal", config=config)
    first = next(iter(loader))
    normals = [image.numpy() for image, name in zip(first.image, first.ids, strict=True) if name.startswith("normal")]
    assert len(normals) > 1
    assert not np.array_equal(normals[0], normals[1])
    set_epoch(loader, 1)
    assert not torch.equal(next(iter(loader)).image, first.image)
