"""Lesions measured on shapes whose size is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn import draw_ellipse
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label, perimeter_crofton, regionprops
from skimage.morphology import convex_hull_image

from bcdseg import Lesion, errors
from bcdseg.inference import regions
from bcdseg.inference.lesions import check_spacing, find_lesions
from bcdseg.types import Mask


def _measure(mask: Mask, spacing: tuple[float, float] | None = None, min_share: float = 0) -> tuple[Lesion, ...]:
    return find_lesions(mask, mask.astype(np.float32) * 0.75, min_share=min_share, spacing=spacing)[1]


@given(down=st.floats(16, 40), across=st.floats(16, 40), degrees=st.floats(-80, 80))
def test_an_ellipse_is_measured_to_half_a_pixel(down: float, across: float, degrees: float) -> None:
    (lesion,) = _measure(draw_ellipse((200, 220), (100, 110), (down, across), degrees))
    assert lesion.long_axis_px == pytest.approx(2 * max(down, across), abs=0.5)
    assert lesion.short_axis_px == pytest.approx(2 * min(down, across), abs=0.5)
    assert lesion.centroid == pytest.approx((100, 110), abs=0.2)
    assert lesion.area_px == pytest.approx(math.pi * down * across, rel=0.03)
    assert lesion.solidity > 0.9
    if max(down, across) > 1.3 * min(down, across):
        expected = degrees if across > down else degrees + 90
        assert (lesion.orientation - expected + 90) % 180 - 90 == pytest.approx(0, abs=3)


def test_axes_end_on_the_edge_of_the_ellipse() -> None:
    (lesion,) = _measure(draw_ellipse((200, 200), (90, 110), (20, 50), 30))
    for ends in (lesion.long_axis_ends, lesion.short_axis_ends):
        for row, column in ends:
            inside, outside = ((1 + step) for step in (-0.06, 0.06))
            for factor, expected in ((inside, True), (outside, False)):
                at = round(90 + (row - 90) * factor), round(110 + (column - 110) * factor)
                assert draw_ellipse((200, 200), (90, 110), (20, 50), 30)[at] == expected
    assert math.dist(*lesion.long_axis_ends) == pytest.approx(lesion.long_axis_px)


@pytest.mark.parametrize("degrees", [0, 25, 90])
@pytest.mark.parametrize("spacing", [(0.1, 0.1), (0.05, 0.1), (0.12, 0.07)])
def test_millimetres_come_out_right_also_when_pixels_are_not_square(spacing: tuple[float, float], degrees: float) -> None:
    rows, columns = np.mgrid[:600, :600].astype(float)
    down, across = (rows - 300) * spacing[0], (columns - 300) * spacing[1]
    turn = np.radians(degrees)
    along, athwart = across * np.cos(turn) - down * np.sin(turn), across * np.sin(turn) + down * np.cos(turn)
    (lesion,) = _measure((along / 11.5) ** 2 + (athwart / 5.75) ** 2 <= 1, spacing)
    assert lesion.long_axis_mm == pytest.approx(23.0, abs=max(spacing) / 2)
    assert lesion.short_axis_mm == pytest.approx(11.5, abs=max(spacing) / 2)
    assert lesion.area_mm2 == pytest.approx(math.pi * 11.5 * 5.75, rel=0.005)
    ends = np.diff(np.array(lesion.long_axis_ends) * spacing, axis=0)
    assert np.hypot(*ends[0]) == pytest.approx(lesion.long_axis_mm)
    if degrees == 90:
        assert lesion.taller_than_wide == pytest.approx(2, rel=0.02)
    assert lesion.circularity == pytest.approx(0.84, abs=0.08)  # of an ellipse of 2:1, by Ramanujan's perimeter


@pytest.mark.parametrize("spacing", [None, (0.1, 0.1), (0.3, 0.1)])
def test_box_and_centroid_are_where_the_lesion_is(spacing: tuple[float, float] | None) -> None:
    mask = np.zeros((300, 400), bool)
    mask[150:171, 310:351] = True
    mask[20:25, 30:33] = True
    large, small = _measure(mask, spacing)
    assert large.box == (150, 310, 171, 351)
    assert large.centroid == pytest.approx((160, 330))
    assert np.mean(large.long_axis_ends, axis=0) == pytest.approx((160, 330))
    assert small.box == (20, 30, 25, 33)
    assert small.centroid == pytest.approx((22, 31))


def test_without_spacing_there_are_no_millimetres() -> None:
    (lesion,) = _measure(draw_ellipse((100, 100), (50, 50), (10, 20)))
    assert lesion.area_mm2 is lesion.long_axis_mm is lesion.short_axis_mm is None
    assert str(lesion) == "40 x 20 px"


def test_shape_numbers_of_a_disc_and_of_a_ring_with_a_gap() -> None:
    disc = draw_ellipse((200, 200), (100, 100), (60, 60))
    (lesion,) = _measure(disc)
    assert lesion.circularity == pytest.approx(1, abs=0.05)
    assert lesion.taller_than_wide == pytest.approx(1, abs=0.02)
    crescent = disc & ~draw_ellipse((200, 200), (100, 130), (55, 55))
    (lesion,) = _measure(crescent)
    assert lesion.solidity < 0.8
    assert lesion.circularity < 0.6


def test_solidity_agrees_with_the_hull_that_scikit_image_draws() -> None:
    crescent = draw_ellipse((200, 200), (100, 100), (60, 60)) & ~draw_ellipse((200, 200), (100, 130), (55, 55))
    for mask in (crescent, draw_ellipse((200, 200), (90, 80), (20, 70), 30)):
        (lesion,) = _measure(mask)
        assert lesion.solidity == pytest.approx(mask.sum() / convex_hull_image(mask).sum(), abs=0.02)


def test_small_components_are_removed_by_the_stated_fraction_and_the_largest_comes_first() -> None:
    mask = draw_ellipse((100, 100), (20, 20), (8, 8)) | draw_ellipse((100, 100), (70, 60), (20, 25))
    mask[5, 90] = mask[95:97, 2:4] = True
    kept, lesions = find_lesions(mask, mask.astype(np.float32), min_share=0.001, spacing=None)
    assert [lesion.area_px for lesion in lesions] == sorted((lesion.area_px for lesion in lesions), reverse=True)
    assert len(lesions) == 2
    assert kept.sum() == sum(lesion.area_px for lesion in lesions)
    assert not kept[5, 90]


def test_pixels_that_touch_at_a_corner_are_one_lesion() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:10, 5:10] = mask[10:15, 10:15] = True
    assert len(_measure(mask)) == 1


@pytest.mark.parametrize(
    "mask", [np.ones((40, 60), bool), np.eye(40, dtype=bool), np.pad([[True]], 20)], ids=["full", "line", "one pixel"]
)
def test_odd_regions_have_finite_numbers(mask: Mask) -> None:
    (lesion,) = _measure(mask, (0.1, 0.2))
    numbers = [
        lesion.long_axis_px,
        lesion.short_axis_px,
        lesion.circularity,
        lesion.solidity,
        lesion.taller_than_wide,
        lesion.orientation,
    ]
    assert np.isfinite(numbers).all()
    assert lesion.probability == pytest.approx(0.75)


def test_pixels_count_as_points_in_axes_and_as_squares_in_areas() -> None:
    row, pixel = _measure(np.pad(np.ones((1, 10), bool), 20), (0.1, 0.1)) + _measure(np.pad([[True]], 20), (0.1, 0.1))
    assert (row.short_axis_mm, row.long_axis_mm) == (0, pytest.approx(0.4 * math.sqrt(99 / 12)))
    assert (pixel.short_axis_mm, pixel.long_axis_mm, pixel.area_mm2) == (0, 0, pytest.approx(0.01))


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 40), st.floats(0.05, 0.7), st.sampled_from([1, 7, 10**6]))
def test_measures_are_those_of_scikit_image(seed: int, height: int, width: int, share: float, band: int) -> None:
    random = np.random.default_rng(seed)
    mask, probability = random.random((height, width)) < share, random.random((height, width), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "BAND", band * width)
        kept, lesions = find_lesions(mask, probability, min_share=0.004, spacing=(0.2, 0.2))
    smallest = 0.004 * mask.size
    numbers = label(mask, connectivity=2)
    expected = [region for region in regionprops(numbers, probability, spacing=(0.2, 0.2)) if region.num_pixels >= smallest]
    np.testing.assert_array_equal(kept, np.isin(numbers, [region.label for region in expected]))
    boxes = {region.bbox: region for region in expected}
    assert len(lesions) == len(expected)
    for lesion in lesions:
        region = boxes[lesion.box]
        if [one.bbox for one in expected].count(region.bbox) > 1:
            continue
        assert (lesion.area_px, lesion.area_mm2) == pytest.approx((region.num_pixels, region.area))
        assert np.array(lesion.centroid) == pytest.approx(np.array(region.centroid) / 0.2)
        axes = region.axis_major_length, region.axis_minor_length
        assert (lesion.long_axis_mm, lesion.short_axis_mm) == pytest.approx(axes, abs=1e-6)
        assert lesion.probability == pytest.approx(region.intensity_mean)
        perimeter = perimeter_crofton(np.pad(region.image, 1))
        assert lesion.circularity == pytest.approx(min(1, 4 * math.pi * region.num_pixels / perimeter**2))
        if axes[0] > 1.001 * axes[1]:
            turned = math.degrees(region.orientation) - 90 - lesion.orientation
            assert (turned + 90) % 180 - 90 == pytest.approx(0, abs=1e-4)


def test_an_empty_mask_has_no_lesion() -> None:
    assert _measure(np.zeros((30, 30), bool)) == ()


@pytest.mark.parametrize("spacing", [0, -1, float("nan"), float("inf"), (0.1,), (0.1, 0.2, 0.3), (0.1, 0)])
def test_impossible_spacings_are_refused(spacing: float) -> None:
    with pytest.raises(errors.OptionError, match="millimetres per pixel"):
        check_spacing(spacing)
