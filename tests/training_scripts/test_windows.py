"""Windows such as the second pass of a prediction processes, to which training cuts some scans."""

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
LESION = np.s_[100:140, 60:120]
SEEDS = range(200)


@pytest.fixture
def augment(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(HOSPITALS)
    yield importlib.import_module("augment")
    sys.modules.pop("augment", None)


def parts(augment: ModuleType, mask: np.ndarray, **options: float) -> list[tuple[float, float, float, float]]:
    return [augment.choose_part(mask, BOX, np.random.default_rng(seed), **options) for seed in SEEDS]


def test_a_window_contains_its_lesion_and_little_else(augment: ModuleType) -> None:
    mask = np.zeros((256, 256), bool)
    mask[LESION] = True
    found = [part for part in parts(augment, mask, windows=1.0) if part[1] < 120]
    assert len(found) > 0.6 * len(SEEDS)  # the others are parts without the lesion
    for top, left, bottom, right in found:
        assert BOX[0] <= top <= 100 < 140 <= bottom <= BOX[2]
        assert BOX[1] <= left <= 60 < 120 <= right <= BOX[3]
        assert max(bottom - top, right - left) <= 2.0 * 60 + 1e-6


def test_a_scan_without_a_lesion_is_cut_to_a_part_of_it(augment: ModuleType) -> None:
    for top, left, bottom, right in parts(augment, np.zeros((256, 256), bool), windows=1.0):
        assert BOX[0] <= top < bottom <= BOX[2]
        assert BOX[1] <= left < right <= BOX[3]
        assert right - left < 256
