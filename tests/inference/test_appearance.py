"""Descriptors for made scans with known tissue next to, inside and behind a lesion, and a known edge."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from drawn import TISSUE, draw_ellipse, draw_star, draw_tissue
from numpy.typing import NDArray
from PIL import Image

import bcdseg
from bcdseg import Lesion
from bcdseg.inference.lesions import find_lesions
from bcdseg.types import Area, Mask

SIZE = (300, 400)


def _oval(middle: tuple[int, int] = (110, 200), axes: tuple[int, int] = (35, 55)) -> Mask:
    mask: Mask = draw_ellipse(SIZE, middle, axes, 0)
    return mask


def _measured(mask: Mask, pixels: NDArray[Any], area: Area | None = None) -> Lesion:
    spacing = None if area is None else area.spacing
    return find_lesions(mask, mask.astype(np.float32), min_share=0, spacing=spacing, pixels=pixels, area=area)[1][0]


def _ratio(lesion: Lesion, name: str) -> float:
    assert lesion.appearance is not None
    value: float | None = getattr(lesion.appearance, name)
    assert value is not None
    return value


@pytest.mark.parametrize(("behind", "word"), [(1.0, "no posterior features"), (1.7, "enhancement"), (0.5, "shadowing")])
def test_a_tail_of_other_gray_is_a_posterior_feature_with_its_ratio(behind: float, word: str) -> None:
    lesion = _measured(_oval(), draw_tissue(_oval(), behind=behind))
    assert lesion.descriptors.posterior == word
    assert _ratio(lesion, "posterior_ratio") == pytest.approx(behind, rel=0.06)


def test_a_bright_half_and_a_dark_half_are_a_combined_pattern() -> None:
    pixels = draw_tissue(_oval()).astype(float)
    pixels[146:, 145:200] *= 0.5
    pixels[146:, 200:256] *= 1.7
    lesion = _measured(_oval(), pixels.clip(0, 255).astype(np.uint8))
    assert lesion.descriptors.posterior == "combined pattern"
    assert (_ratio(lesion, "posterior_left"), _ratio(lesion, "posterior_right")) == pytest.approx((0.5, 1.7), rel=0.1)


def test_without_tissue_or_light_or_direction_no_posterior_feature_is_suggested() -> None:
    deep = _oval((255, 200))
    assert _measured(deep, draw_tissue(deep)).descriptors.posterior is None
    wide = draw_ellipse(SIZE, (110, 200), (35, 195), 0)
    assert _measured(wide, draw_tissue(wide)).descriptors.posterior is None
    pixels = draw_tissue(_oval(), behind=1.7)
    pixels[146:] //= 40
    assert _measured(_oval(), pixels).descriptors.posterior is None
    upwards = Area(box=(0, 0, *SIZE), depth_down=False)
    assert _measured(_oval(), draw_tissue(_oval(), behind=1.7), upwards).descriptors.posterior is None
    region = Area(box=(0, 0, 150, 400))
    assert _measured(_oval(), draw_tissue(_oval(), behind=1.7), region).descriptors.posterior is None


def test_a_scan_that_is_upside_down_has_no_posterior_features() -> None:
    upright = np.asarray(Image.open("data/sample/benign/benign (2).png").convert("L"))
    model = bcdseg.load("bus-multi")
    (lesion, *_), flipped = model.predict(upright).lesions, model.predict(upright[::-1].copy())
    assert lesion.descriptors.posterior == "enhancement"
    assert "upside-down" in {flag.code for flag in flipped.flags}
    outlined = (*flipped.lesions, *flipped.candidates)
    assert outlined
    assert {one.descriptors.posterior for one in outlined} == {None}


@pytest.mark.parametrize(("inside", "word"), [(3, "anechoic"), (60, "hypoechoic"), (120, "isoechoic"), (200, "hyperechoic")])
def test_the_gray_inside_over_that_of_adjacent_tissue_is_the_echo_pattern(inside: float, word: str) -> None:
    lesion = _measured(_oval(), draw_tissue(_oval(), inside))
    assert lesion.descriptors.echo_pattern == word
    assert _ratio(lesion, "echo_ratio") == pytest.approx(inside / TISSUE, rel=0.06, abs=0.01)


def test_parts_of_different_gray_are_heterogeneous_and_black_parts_complex() -> None:
    columns = np.arange(SIZE[1])
    coarse = np.broadcast_to(np.where(columns // 20 % 2, 30.0, 120.0), SIZE)
    assert _measured(_oval(), draw_tissue(_oval(), coarse)).descriptors.echo_pattern == "heterogeneous"
    half = np.broadcast_to(np.where(columns < 200, 2.0, 90.0), SIZE)
    lesion = _measured(_oval(), draw_tissue(_oval(), half))
    assert lesion.descriptors.echo_pattern == "complex cystic and solid"
    assert _ratio(lesion, "echo_free") == pytest.approx(0.5, abs=0.08)


def test_black_above_a_shadow_is_not_taken_for_fluid() -> None:
    assert _measured(_oval(), draw_tissue(_oval(), 3, behind=0.4)).descriptors.echo_pattern is None
    half = np.broadcast_to(np.where(np.arange(SIZE[1]) < 200, 2.0, 90.0), SIZE)
    assert _measured(_oval(), draw_tissue(_oval(), half, behind=0.4)).descriptors.echo_pattern == "heterogeneous"


@pytest.mark.parametrize(("blur", "word"), [(0.0, "circumscribed"), (1.5, "circumscribed"), (15.0, "indistinct")])
def test_a_sharp_edge_is_circumscribed_and_a_blurred_one_indistinct(blur: float, word: str) -> None:
    assert _measured(_oval(), draw_tissue(_oval(), blur=blur)).descriptors.margin == word


def test_an_edge_that_can_not_be_seen_is_indistinct() -> None:
    assert _measured(_oval(), draw_tissue(_oval(), TISSUE)).descriptors.margin == "indistinct"


def test_an_edge_that_is_sharp_along_a_part_has_the_fraction_and_no_word() -> None:
    left = np.arange(SIZE[1]) < 190
    pixels = np.where(left, draw_tissue(_oval()), draw_tissue(_oval(), blur=18.0))
    lesion = _measured(_oval(), pixels)
    assert 0.5 <= _ratio(lesion, "abrupt_edge") < 0.75
    assert lesion.descriptors.margin is None


@pytest.mark.parametrize(("points", "depth"), [(5, 0.4), (9, 0.25)])
def test_a_star_is_not_circumscribed(points: int, depth: float) -> None:
    star = draw_star(SIZE, (130, 200), 60, points=points, depth=depth)
    lesion = _measured(star, draw_tissue(star))
    assert lesion.descriptors.margin == "not circumscribed"
    assert lesion.solidity < 0.9


def test_a_lesion_at_the_border_has_no_margin_and_a_small_one_nothing() -> None:
    cut = _oval((110, 20))
    assert _measured(cut, draw_tissue(cut)).descriptors.margin is None
    small = _oval((110, 200), (4, 6))
    found = _measured(small, draw_tissue(small))
    assert found.appearance is not None
    assert set(asdict(found.appearance).values()) == {None}
    assert str(found.descriptors) == "oval, parallel"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.5, 1, 2.5])
def test_words_and_numbers_depend_on_neither_size_nor_gain_nor_noise(scale: float, seed: int) -> None:
    size = round(SIZE[1] * scale), round(SIZE[0] * scale)
    pixels = np.asarray(Image.fromarray(draw_tissue(_oval(), behind=1.6, seed=seed)).resize(size, Image.Resampling.BILINEAR))
    mask = np.asarray(Image.fromarray(_oval()).resize(size))
    darker = (pixels * 0.8).astype(np.uint8)
    for shown in (pixels, darker, pixels.astype(np.float32) / 255, np.repeat(pixels[..., None], 3, axis=2)):
        lesion = _measured(mask, shown)
        assert str(lesion.descriptors) == "oval, parallel, circumscribed, hypoechoic, enhancement"
        assert _ratio(lesion, "posterior_ratio") == pytest.approx(1.6, rel=0.08)


def test_pixels_that_are_not_square_give_the_same_numbers() -> None:
    pixels, area = draw_tissue(_oval(), behind=1.6), Area(box=(0, 0, *SIZE), spacing=(0.1, 0.1))
    stretched = Area(box=(0, 0, SIZE[0], 2 * SIZE[1]), spacing=(0.1, 0.05))
    square, wide = (
        _measured(mask, shown, region)
        for mask, shown, region in (
            (_oval(), pixels, area),
            (np.repeat(_oval(), 2, axis=1) > 0, np.repeat(pixels, 2, axis=1), stretched),
        )
    )
    assert square.appearance is not None
    assert wide.appearance is not None
    assert asdict(wide.appearance) == pytest.approx(asdict(square.appearance), abs=0.05)
    assert str(wide.descriptors) == str(square.descriptors)


def test_another_outline_is_not_tissue() -> None:
    both = _oval() | _oval((110, 330), (30, 45))
    pixels = draw_tissue(both, 60)
    lesion = _measured(both, pixels)
    assert _ratio(lesion, "echo_ratio") == pytest.approx(0.5, rel=0.06)


def test_a_huge_lesion_is_measured_like_a_small_one() -> None:
    mask, pixels = (np.repeat(np.repeat(one, 12, axis=0), 12, axis=1) for one in (_oval(), draw_tissue(_oval(), behind=1.6)))
    assert str(_measured(mask > 0, pixels).descriptors) == str(_measured(_oval(), draw_tissue(_oval(), behind=1.6)).descriptors)
