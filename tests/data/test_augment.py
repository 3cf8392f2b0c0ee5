"""Augmentation moves image and mask together, keeps their forms, and can be repeated."""

from __future__ import annotations

import random

import numpy as np
import pytest
from drawn import draw_ellipse, draw_scan

from bcdseg import errors

pytest.importorskip("albumentations", reason="extra train is not installed")

from bcdseg.training import augment
from bcdseg.training.augment import paint_marks

TRUTH = draw_ellipse((120, 160), (50, 90), (20, 30))


@pytest.mark.parametrize("strength", ["default", "light", "none"])
def test_forms_are_kept(strength: str) -> None:
    pipeline = augment.build(strength, (96, 128), seed=0)
    for _ in range(30):
        out = pipeline(image=draw_scan(0)[..., None], mask=TRUTH.astype(np.uint8))
        assert out["image"].shape == (96, 128, 1)
        assert out["image"].dtype == np.uint8
        assert out["mask"].shape == (96, 128)
        assert set(np.unique(out["mask"])) <= {0, 1}


def test_the_mask_follows_the_image() -> None:
    pipeline = augment.build("light", (120, 160), seed=1)
    image = (TRUTH * 255).astype(np.uint8)
    for _ in range(20):
        out = pipeline(image=image[..., None], mask=TRUTH.astype(np.uint8))
        bright = out["image"][..., 0] > out["image"].max() / 2
        overlap = 2 * (bright & (out["mask"] > 0)).sum() / (bright.sum() + out["mask"].sum())
        assert overlap > 0.95


def test_tissue_is_pressed_visibly_and_nowhere_folded() -> None:
    for size in (64, 256):
        columns, rows = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
        moved, pressed = [], []
        for seed in range(10):
            elastic = augment.Elastic(alpha=4, sigma=20, p=1)
            elastic.set_random_state(np.random.default_rng(seed), random.Random(seed))
            maps = elastic.get_params_dependent_on_data({"shape": (size, size, 1)}, {})
            moved += [maps["map_x"] - columns, maps["map_y"] - rows]
            pressed += [np.diff(maps["map_x"], axis=1), np.diff(maps["map_y"], axis=0)]
        assert np.std(moved) == pytest.approx(4 * size / 256, rel=0.2)
        assert min(steps.min() for steps in pressed) > 0


@pytest.mark.parametrize("form", [(256, 256), (64, 96, 1), (120, 90, 3)], ids=str)
def test_marks_are_small_and_lie_anywhere(form: tuple[int, ...]) -> None:
    black = np.zeros(form, np.uint8)
    painted = np.stack([paint_marks(black, np.random.default_rng(seed)) for seed in range(300)])
    assert painted.shape[1:] == form
    assert painted.dtype == np.uint8
    assert not black.any()
    lit = painted.reshape(*painted.shape[:3], -1).any(axis=3)
    assert lit.any(axis=(1, 2)).mean() > 0.95
    assert lit.mean() < 0.03
    assert lit.mean(axis=(1, 2)).max() < 0.2
    tiles = [tile.mean() for band in np.array_split(lit, 4, axis=1) for tile in np.array_split(band, 4, axis=2)]
    assert min(tiles) > np.mean(tiles) / 4


def test_the_same_seed_gives_the_same_scans() -> None:
    one, two = (augment.build("default", (64, 64), seed=5) for _ in range(2))
    for _ in range(10):
        scan = draw_scan(2)[..., None]
        np.testing.assert_array_equal(
            one(image=scan, mask=TRUTH.astype(np.uint8))["image"], two(image=scan, mask=TRUTH.astype(np.uint8))["image"]
        )


def test_default_changes_scans_and_none_only_resizes() -> None:
    scan = draw_scan(0, (64, 64))
    mask = np.zeros((64, 64), np.uint8)
    np.testing.assert_array_equal(augment.build("none", (64, 64))(image=scan[..., None], mask=mask)["image"][..., 0], scan)
    pipeline = augment.build("default", (64, 64), seed=0)
    assert any((pipeline(image=scan[..., None], mask=mask)["image"][..., 0] != scan).any() for _ in range(5))


def test_unknown_strengths_are_refused() -> None:
    with pytest.raises(errors.OptionError, match="default, light, none"):
        augment.build("heavy", (64, 64))
