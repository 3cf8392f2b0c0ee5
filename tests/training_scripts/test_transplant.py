"""Lesions and normal tissue that training moves from one scan into another."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HOSPITALS = Path(__file__).parents[2] / "training" / "hospitals"
BOX = np.array([40, 0, 216, 256])
DRAWS = 20


@pytest.fixture
def transplant(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(HOSPITALS)
    yield importlib.import_module("transplant")
    sys.modules.pop("transplant", None)


def disc(row: int, column: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[:256, :256]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def gray(level: int) -> np.ndarray:
    image = np.zeros((256, 256), np.uint8)
    image[BOX[0] : BOX[2]] = level
    return image


def test_a_lesion_comes_with_its_mask_into_a_normal_scan_and_changes_nothing_far_from_it(transplant: ModuleType) -> None:
    mask = disc(120, 100, 20)
    donor = transplant.Scan(np.where(mask, 30, gray(120)).astype(np.uint8), mask, BOX)
    normal = transplant.Scan(gray(60), np.zeros((256, 256), bool), BOX)
    for seed in range(DRAWS):
        found = transplant.with_lesion(normal, donor, np.random.default_rng(seed))
        assert 0.3 * mask.sum() < found.mask.sum() < 2 * mask.sum()
        assert found.image[found.mask].mean() == pytest.approx(15, abs=4)  # as dark next to the tissue as the donor's
        assert not found.mask[: BOX[0]].any()
        assert not found.image[: BOX[0]].any()
        rows, columns = np.nonzero(found.mask)
        far = ~disc(int(rows.mean()), int(columns.mean()), 70)
        assert (found.image[far] == normal.image[far]).all()
    assert not normal.mask.any()
    assert (normal.image[BOX[0] : BOX[2]] == 60).all()


def test_normal_tissue_covers_no_lesion_and_leaves_the_mask_unchanged(transplant: ModuleType) -> None:
    lesion = disc(110, 128, 12)
    scan = transplant.Scan(np.where(lesion, 20, gray(100)).astype(np.uint8), lesion, BOX)
    texture = np.random.default_rng(0).integers(20, 220, (256, 256), np.uint8)
    normal = transplant.Scan(texture, np.zeros((256, 256), bool), BOX)
    changed = 0
    for seed in range(DRAWS):
        found = transplant.with_tissue(scan, normal, disc(120, 60, 10), np.random.default_rng(seed))
        if found is None:
            continue  # the place that was drawn is the lesion's
        changed += bool((found.image != scan.image).any())
        assert (found.image[lesion] == 20).all()
        assert (found.mask == lesion).all()
    assert changed > DRAWS / 4


def test_a_lesion_that_is_larger_than_a_scan_is_not_moved_into_it(transplant: ModuleType) -> None:
    mask = disc(128, 128, 80)
    donor = transplant.Scan(np.where(mask, 30, gray(120)).astype(np.uint8), mask, BOX)
    small = transplant.Scan(gray(60), np.zeros((256, 256), bool), np.array([100, 100, 140, 140]))
    assert transplant.with_lesion(small, donor, np.random.default_rng(0)) is None
