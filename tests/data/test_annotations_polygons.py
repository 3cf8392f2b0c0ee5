from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter
from skimage.draw import polygon as filled_by_skimage

from bcdseg.data.annotations.polygons import fill, trace


def blobs(seed: int, smooth: float, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Return a mask of several lesions, some with holes, some at the border."""
    return gaussian_filter(np.random.default_rng(seed).normal(size=size), smooth) > 0.02


def redrawn(mask: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    return fill([np.ravel(one.corners()) for one in trace(mask, tolerance)], mask.shape)


def test_polygons_have_exactly_the_pixels_of_their_mask() -> None:
    holes = 0
    for seed, smooth in enumerate((0.5, 1, 2, 4, 8)):
        mask = blobs(seed, smooth)
        holes += sum(len(one.holes) for one in trace(mask))
        assert (redrawn(mask) == mask).all()
    assert holes > 10


def test_a_single_pixel_a_full_and_an_empty_mask() -> None:
    mask = np.zeros((5, 6), bool)
    assert trace(mask) == ()
    assert (redrawn(~mask) == ~mask).all()
    mask[2, 3] = True
    assert trace(mask)[0].outer == pytest.approx(np.array([(2.5, 3), (2, 2.5), (1.5, 3), (2, 3.5)]), abs=1)
    assert (redrawn(mask) == mask).all()


def test_polygons_are_sorted_by_size_and_count_from_the_centre_of_the_first_pixel() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:4, 2:4] = True
    mask[10:20, 12:25] = True
    largest, smallest = trace(mask)
    rows, columns = np.array(largest.outer).T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9.5, 19.5, 11.5, 24.5)
    assert max(row for row, _ in smallest.outer) == 3.5
    assert min(x for x, _ in largest.corners()) == 12  # the left edge of column 12


def test_a_simplified_polygon_is_within_a_pixel_of_the_mask_and_has_fewer_points() -> None:
    mask = blobs(3, 8)
    rough = redrawn(mask, 0.5)
    near = np.ones((3, 3))
    assert not (rough & ~binary_dilation(mask, near)).any()
    assert not (binary_erosion(mask, near, border_value=1) & ~rough).any()
    assert sum(len(one.outer) for one in trace(mask, 0.5)) < 0.7 * sum(len(one.outer) for one in trace(mask))


@pytest.mark.parametrize("seed", range(5))
def test_any_polygon_is_filled_as_by_scikit_image(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-20, 90, (12, 2))  # crosses itself and the border
    expected = np.zeros((60, 80), bool)
    expected[filled_by_skimage(points[:, 1] - 0.5, points[:, 0] - 0.5, expected.shape)] = True
    assert (fill([points.ravel()], expected.shape) == expected).all()


def test_polygons_outside_the_image_are_cut() -> None:
    assert not fill([(100, 100, 120, 100, 110, 130)], (60, 80)).any()
    assert fill([(-9, -9, 200, -9, 200, 200, -9, 200)], (60, 80)).all()
