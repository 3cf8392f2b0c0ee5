"""Corrupted scans: repeatable, worse with strength, with masks that still fit."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import draw_ellipse, draw_scan
from hypothesis import given
from hypothesis import strategies as st

from bcdseg.evaluation.corruptions import CORRUPTIONS, corrupt

SCAN, MASK = draw_scan(0), draw_ellipse((120, 160), (60, 80), (24, 40))
EACH = [(one.name, strength) for one in CORRUPTIONS.values() for strength in one.strengths]


@pytest.mark.parametrize(("name", "strength"), EACH)
def test_the_same_seed_gives_the_same_scan_and_nothing_handed_in_is_changed(name: str, strength: float) -> None:
    pixels, mask = SCAN.copy(), MASK.copy()
    first, second = (corrupt(pixels, mask, name, strength, seed=(1,)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(pixels, SCAN)
    np.testing.assert_array_equal(mask, MASK)
    assert first[0].dtype == np.uint8
    assert first[0].shape[:2] == first[1].shape  # type: ignore[union-attr]
    assert not (first[0].shape == SCAN.shape and (first[0] == SCAN).all())


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - {"crop", "gain", "screenshot"}))
def test_stronger_is_further_from_the_scan(name: str) -> None:
    changes = [
        np.abs(corrupt(SCAN, MASK, name, strength)[0].astype(float) - SCAN).mean() for strength in CORRUPTIONS[name].strengths
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_colour_floats_and_scans_without_a_mask_pass(name: str) -> None:
    strength = CORRUPTIONS[name].strengths[-1]
    colour = np.repeat(SCAN[..., None], 3, axis=2)
    gray = corrupt(SCAN, None, name, strength)
    assert gray[1] is None
    assert corrupt(colour, None, name, strength)[0].shape == (*gray[0].shape, 3)
    floats = corrupt(SCAN.astype(np.float32) / 255, None, name, strength)[0]
    np.testing.assert_allclose(floats.astype(int), gray[0], atol=1)


@given(
    row=st.integers(10, 110),
    column=st.integers(10, 150),
    radius=st.integers(2, 30),
    share=st.sampled_from([0.9, 0.7]),
    seed=st.integers(0, 9),
)
def test_a_crop_keeps_the_lesion_and_the_mask_stays_on_it(row: int, column: int, radius: int, share: float, seed: int) -> None:
    mask = draw_ellipse((120, 160), (row, column), (radius, radius))
    pixels = np.where(mask, np.uint8(200), np.uint8(30))
    cut, follows = corrupt(pixels, mask, "crop", share, seed=(seed,))
    assert cut.shape == (round(120 * share), round(160 * share))
    np.testing.assert_array_equal(cut > 100, follows)
    assert follows is not None
    assert follows.sum() == mask.sum()


def test_a_screenshot_contains_the_whole_scan_and_its_mask_fits() -> None:
    framed, follows = corrupt(SCAN, MASK, "screenshot", 0.3)
    assert framed.shape == (120 + 2 * 36, 160 + 2 * 48)
    np.testing.assert_array_equal(framed[36:-36, 48:-48], SCAN)
    assert follows is not None
    np.testing.assert_array_equal(follows[36:-36, 48:-48], MASK)
    assert follows.sum() == MASK.sum()
    around = framed.copy()
    around[36:-36, 48:-48] = 0
    assert 0.5 < (around == 0).mean() < 1  # black, with words


def test_calipers_are_painted_on_normals_too() -> None:
    empty = np.zeros_like(MASK)
    painted, mask = corrupt(np.zeros_like(SCAN), empty, "calipers", 2)
    assert (painted == 255).sum() > 20
    assert mask is not None
    assert not mask.any()
