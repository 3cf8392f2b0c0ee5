"""Measures of outlines, against SimpleITK, MONAI, scikit-learn and cases done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn import metrics as sk

from bcdseg.errors import InputError
from bcdseg.evaluation.metrics.detection import detect
from bcdseg.evaluation.metrics.outline import overlap, score_mask
from bcdseg.evaluation.metrics.surface import diagonal, surface

SIZE = (24, 32)
EMPTY, FULL = np.zeros(SIZE, bool), np.ones(SIZE, bool)
DIAGONAL = math.hypot(*SIZE)


def blob(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a ragged region, over the border for some seeds."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[: size[0], : size[1]]
    centre, radius = random.uniform(0, 1, 2) * size, random.uniform(0.15, 0.5) * min(size)
    angle = np.arctan2(row - centre[0], column - centre[1])
    return np.hypot(row - centre[0], column - centre[1]) < radius * (1 + 0.3 * np.sin(3 * angle + seed))


def one_pixel(row: int, column: int) -> np.ndarray:
    mask = EMPTY.copy()
    mask[row, column] = True
    return mask


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = EMPTY.copy()
    mask[top:bottom, left:right] = True
    return mask


masks = arrays(np.bool_, (9, 12))


@pytest.mark.parametrize("seed", range(6))
def test_overlap_is_scikit_learns_of_the_pixels(seed: int) -> None:
    predicted, truth = blob(seed), blob(seed + 1)
    found = overlap(truth, predicted)
    flat = truth.ravel(), predicted.ravel()
    assert found.dice == pytest.approx(sk.f1_score(*flat, zero_division=0))
    assert found.iou == pytest.approx(sk.jaccard_score(*flat, zero_division=0))
    assert found.precision == pytest.approx(sk.precision_score(*flat, zero_division=0))
    assert found.recall == pytest.approx(sk.recall_score(*flat))


def itk_distances(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return both distances by SimpleITK: contours, and the distance map of each."""

    def contour(mask: np.ndarray) -> sitk.Image:
        image = sitk.GetImageFromArray(np.pad(mask, 2).astype(np.uint8))
        image.SetSpacing((spacing[1], spacing[0]))
        return sitk.LabelContour(image, fullyConnected=False)

    def far(edge: sitk.Image) -> np.ndarray:
        return np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(edge, squaredDistance=False, useImageSpacing=True)))

    edges = contour(one), contour(other)
    pixels = [sitk.GetArrayFromImage(edge) > 0 for edge in edges]
    return far(edges[1])[pixels[0]], far(edges[0])[pixels[1]]


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.11, 0.07)])
@pytest.mark.parametrize("seed", range(6))
def test_distances_are_simpleitks(seed: int, spacing: tuple[float, float]) -> None:
    predicted, truth = blob(seed), blob(seed + 10)
    there, back = itk_distances(predicted, truth, spacing)
    found = surface(truth, predicted, spacing=spacing, tolerance=0.2)
    assert found.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-4)
    assert found.assd == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-4)
    precision, recall = (there <= 0.2).mean(), (back <= 0.2).mean()
    assert found.boundary_f1 == pytest.approx(2 * precision * recall / (precision + recall) if precision + recall else 0)


# MONAI calls its own function with an argument that it deprecates.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_distances_are_monais_at_the_border_too() -> None:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    pairs = [(blob(seed), blob(seed + 10)) for seed in range(4)]
    pairs += [(FULL, blob(2)), (box(0, 0, 5, 9), box(3, 4, 24, 32)), (one_pixel(0, 0), one_pixel(23, 31)), (FULL, one_pixel(9, 9))]
    for predicted, truth in pairs:
        tensors = [torch.from_numpy(mask)[None, None].float() for mask in (truth, predicted)]
        found = surface(truth, predicted)
        assert found.hd95 == pytest.approx(float(compute_hausdorff_distance(*tensors, percentile=95)), rel=1e-5)
        assert found.assd == pytest.approx(float(compute_average_surface_distance(*tensors, symmetric=True)), rel=1e-5)


def test_distances_of_boxes_done_by_hand() -> None:
    one, other = box(5, 5, 15, 15), box(5, 8, 15, 18)  # the same box, three to the right
    found = surface(one, other)
    assert found.hd95 == 3
    edge, moved = np.argwhere(one & ~box(6, 6, 14, 14)), np.argwhere(other & ~box(6, 9, 14, 17))
    far = cdist(edge, moved)
    assert found.assd == pytest.approx(np.concatenate([far.min(0), far.min(1)]).mean())
    assert surface(one, other, tolerance=3).boundary_f1 == 1
    assert 0 < surface(one, other, tolerance=2).boundary_f1 < 1


def test_a_distance_that_equals_the_tolerance_is_within_it() -> None:
    square = np.zeros((40, 40), bool)
    square[2:34, 2:34] = True
    moved = np.roll(square, (3, 4), axis=(0, 1))
    for pixels in (3, 4, 5):
        found = score_mask(square, moved, spacing=(0.1, 0.1), tolerance_mm=pixels / 10)
        assert found.surface_dice == surface(square, moved, tolerance=pixels).surface_dice  # whole numbers are not rounded


def test_a_shift_is_measured_in_the_millimetres_of_its_direction() -> None:
    middle, below, right = one_pixel(10, 10), one_pixel(14, 10), one_pixel(10, 14)
    assert surface(middle, below, spacing=(0.5, 0.1)).hd95 == pytest.approx(2.0)
    assert surface(middle, right, spacing=(0.5, 0.1)).hd95 == pytest.approx(0.4)
    assert surface(middle, below, spacing=(0.5, 0.1)).assd == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("predicted", "truth"), [(EMPTY, FULL), (FULL, EMPTY), (EMPTY, one_pixel(3, 4)), (one_pixel(0, 31), EMPTY)]
)
def test_a_missed_or_invented_lesion_costs_the_most_and_is_finite(predicted: np.ndarray, truth: np.ndarray) -> None:
    assert overlap(truth, predicted) == (0, 0, 0, 0)
    assert surface(truth, predicted) == (DIAGONAL, DIAGONAL, 0, 0)
    assert surface(predicted, truth, spacing=(0.2, 0.1)).hd95 == pytest.approx(math.hypot(24 * 0.2, 32 * 0.1))


@pytest.mark.parametrize("mask", [EMPTY, FULL, one_pixel(0, 0), one_pixel(12, 9), box(0, 3, 24, 7), blob(3)])
def test_the_same_mask_twice_agrees_in_everything(mask: np.ndarray) -> None:
    assert overlap(mask, mask) == (1, 1, 1, 1)
    assert surface(mask, mask) == (0, 0, 1, 1)
    found = score_mask(mask, mask, spacing=(0.1, 0.2))
    assert (found.hd95_mm, found.assd_mm, found.lesions_false) == (0, 0, 0)
    assert found.lesions_found == found.lesions_true == int(mask.any())


@given(masks, masks)
def test_distances_and_dice_are_the_same_both_ways_and_under_flips(one: np.ndarray, other: np.ndarray) -> None:
    there, back = surface(one, other), surface(other, one)
    assert there == pytest.approx(back)
    assert overlap(one, other).dice == overlap(other, one).dice
    assert overlap(one, other).precision == overlap(other, one).recall
    for flip in (np.flipud, np.fliplr):
        assert surface(flip(one), flip(other)) == pytest.approx(there)
        assert overlap(flip(one), flip(other)) == overlap(one, other)
    across = surface(one.T, other.T)
    assert across == pytest.approx(there)


@given(masks, masks, st.floats(0.01, 10))
def test_distances_scale_with_the_pixel_size_and_never_pass_the_diagonal(one: np.ndarray, other: np.ndarray, scale: float) -> None:
    pixels, millimetres = surface(one, other), surface(one, other, spacing=(scale, scale))
    assert millimetres.hd95 == pytest.approx(pixels.hd95 * scale)
    assert millimetres.assd == pytest.approx(pixels.assd * scale)
    assert 0 <= pixels.assd <= diagonal(one.shape)
    assert 0 <= pixels.hd95 <= diagonal(one.shape)


def test_lesions_are_matched_one_to_one_from_a_tenth_of_iou_on() -> None:
    two = box(2, 2, 8, 8) | box(12, 12, 20, 20)
    assert detect(two, two) == (2, 2, 0)
    assert detect(two, box(2, 2, 8, 8)) == (2, 1, 0)
    assert detect(two, box(2, 2, 8, 8) | box(0, 25, 3, 30)) == (2, 1, 1)
    assert detect(two, FULL) == (2, 0, 1)  # 64 of 768 pixels: IoU below 0.1
    assert detect(two, box(2, 2, 20, 20)) == (2, 1, 0)  # one region over both finds the larger
    assert detect(box(2, 2, 8, 8), box(2, 2, 8, 4) | box(2, 6, 8, 8)) == (1, 1, 1)  # two regions in one lesion
    assert detect(two, box(2, 2, 8, 8)).sensitivity == 0.5


def test_regions_that_touch_at_a_corner_are_one() -> None:
    assert detect(box(2, 2, 4, 4) | box(4, 4, 6, 6), EMPTY) == (1, 0, 0)
    assert detect(EMPTY, EMPTY) == (0, 0, 0)
    assert detect(EMPTY, one_pixel(0, 0)) == (0, 0, 1)
    assert detect(EMPTY, EMPTY).sensitivity is None


@given(masks, masks)
def test_lesions_add_up(one: np.ndarray, other: np.ndarray) -> None:
    found, back = detect(one, other), detect(other, one)
    assert 0 <= found.found <= found.lesions
    assert found.found + found.false == back.lesions
    assert back.found == found.found


def test_masks_of_different_sizes_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"benign \(1\).png: the predicted mask has 32 x 24 pixels and the true mask 24 x 32"):
        score_mask(EMPTY, EMPTY.T, name="benign (1).png")
