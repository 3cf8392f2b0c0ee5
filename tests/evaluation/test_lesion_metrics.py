"""Surface Dice, lesion size and FROC, against MONAI, SimpleITK and cases done by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from made_cases import CLASSES, disc, made_case

from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import estimate
from bcdseg.evaluation.metrics.detection import FALSE_PER_SCAN, detect, froc, froc_score, scored_regions
from bcdseg.evaluation.metrics.outline import bland_altman, lesion_size, score_mask
from bcdseg.evaluation.metrics.surface import surface
from bcdseg.evaluation.results_table import Case, table_of

SIZE = (48, 64)
EMPTY = np.zeros(SIZE, bool)


def ellipse(centre: tuple[float, float], axes: tuple[float, float], size: tuple[int, int] = SIZE) -> np.ndarray:
    row, column = np.mgrid[: size[0], : size[1]]
    return ((row - centre[0]) / axes[0]) ** 2 + ((column - centre[1]) / axes[1]) ** 2 < 1


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 3.0])
def test_surface_dice_is_monais(tolerance: float) -> None:
    import torch
    from monai.metrics import compute_surface_dice

    for seed in range(4):
        truth = ellipse((22 + seed, 30), (9 + seed, 14))
        predicted = ellipse((24, 31 + seed), (11, 12 + seed))
        tensors = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth)]
        expected = float(compute_surface_dice(*tensors, class_thresholds=[tolerance], include_background=True))
        assert surface(truth, predicted, tolerance=tolerance).surface_dice == pytest.approx(expected)


def test_surface_dice_of_empty_masks_and_in_millimetres() -> None:
    lesion = disc(SIZE, (20, 30), 8)
    assert surface(EMPTY, EMPTY, tolerance=1.0).surface_dice == 1
    assert surface(lesion, EMPTY, tolerance=100.0).surface_dice == surface(EMPTY, lesion, tolerance=100.0).surface_dice == 0
    moved = np.roll(lesion, 4, axis=1)
    assert surface(lesion, moved, tolerance=0.41, spacing=(0.5, 0.1)).surface_dice == 1
    assert surface(lesion, moved, tolerance=0.2, spacing=(0.5, 0.1)).surface_dice < 1
    assert score_mask(lesion, moved, spacing=(0.5, 0.1), tolerance_mm=0.41).surface_dice == 1
    assert score_mask(lesion, moved).surface_dice is None


def test_the_long_axis_is_that_of_the_ellipse_and_of_simpleitk() -> None:
    mask = ellipse((100, 120), (40, 70), (200, 240))
    found = lesion_size(mask, spacing=(0.2, 0.1))
    assert found is not None
    assert found.long_axis == pytest.approx(2 * 40 * 0.2, rel=0.01)  # the vertical axis is longer in millimetres
    assert found.area == pytest.approx(np.pi * 40 * 0.2 * 70 * 0.1, rel=0.01)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((0.1, 0.2))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(image)
    assert found.area == pytest.approx(shape.GetPhysicalSize(1))
    assert found.long_axis == pytest.approx(4 * np.sqrt(max(shape.GetPrincipalMoments(1))), rel=1e-3)


def test_the_size_is_that_of_the_largest_region() -> None:
    large, small = disc(SIZE, (20, 20), 8), disc(SIZE, (40, 55), 3)
    assert lesion_size(large | small) == lesion_size(large)
    assert lesion_size(EMPTY) is None
    missed = score_mask(large, EMPTY, spacing=(0.1, 0.1))
    assert missed.predicted_long_axis_mm is None
    assert missed.true_area_mm2 == pytest.approx(large.sum() * 0.01)


def test_limits_of_agreement_are_those_of_the_published_example() -> None:
    # Bland and Altman, Lancet 1986: peak expiratory flow by large and mini meter, first readings of 17 people
    large = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float)
    mini = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)
    found = bland_altman(mini, large)
    assert found.bias[0] == pytest.approx(-2.1, abs=0.05)
    assert (found.high[0] - found.bias[0]) / 1.96 == pytest.approx(38.8, abs=0.05)
    weights = np.random.default_rng(0).integers(0, 3, (2, 17)).astype(float)
    for at, draw in enumerate(weights):
        difference = np.repeat(large - mini, draw.astype(int))
        again = bland_altman(mini, large, weights)
        assert again.bias[at] == pytest.approx(difference.mean())
        assert again.high[at] == pytest.approx(difference.mean() + 1.96 * difference.std(ddof=1))
    assert np.isnan(bland_altman(np.array([1.0]), np.array([2.0])).high[0])
    assert np.isnan(bland_altman(np.empty(0), np.empty(0)).bias[0])


def test_size_errors_of_a_table_leave_missed_lesions_out() -> None:
    truth, predicted = disc(SIZE, (20, 30), 8), disc(SIZE, (20, 30), 10)
    rows = [
        Case(
            id=name,
            label="benign",
            outlined=bool(mask.any()),
            outline=score_mask(truth, mask, spacing=(0.5, 0.5)),
            spacing=(0.5, 0.5),
        )
        for name, mask in (("a", predicted), ("b", truth), ("c", EMPTY))
    ]
    table = table_of(rows, classes=CLASSES, no_lesion="normal")
    found = estimate(table, all_measures(table), draws=0)
    one, other = (lesion_size(mask, spacing=(0.5, 0.5)) for mask in (predicted, truth))
    assert one is not None
    assert other is not None
    assert found["long_axis_mm_bias"].value == pytest.approx((one.long_axis - other.long_axis) / 2)
    assert found["long_axis_mm_error"].value == found["long_axis_mm_bias"].value
    assert found["long_axis_mm_bias"].n == 2
    assert found["missed_scan_rate"].value == pytest.approx(1 / 3)
    assert "long_axis_px_bias" not in found


def test_size_errors_of_scans_with_and_without_a_pixel_size_are_in_millimetres_and_of_all_in_pixels() -> None:
    truth, predicted = disc(SIZE, (20, 30), 8), disc(SIZE, (20, 30), 10)
    rows = [
        Case(id=str(at), label="benign", outlined=True, outline=score_mask(truth, predicted, spacing=spacing), spacing=spacing)
        for at, spacing in enumerate(((0.5, 0.5), None, None))
    ]
    table = table_of(rows, classes=CLASSES, no_lesion="normal")
    found = estimate(table, all_measures(table), draws=0)
    assert [found[name].n for name in ("long_axis_mm_bias", "area_mm2_bias", "long_axis_px_bias")] == [1, 1, 3]
    assert found["long_axis_px_bias"].value == pytest.approx(2 * found["long_axis_mm_bias"].value)


def test_an_outline_elsewhere_misses_the_lesion_and_is_not_a_scan_without_outline() -> None:
    truth, elsewhere = disc(SIZE, (20, 20), 8), disc(SIZE, (40, 55), 3)
    row = Case(id="a", label="benign", outlined=True, outline=score_mask(truth, elsewhere))
    table = table_of([row], classes=CLASSES, no_lesion="normal")
    found, titles = estimate(table, all_measures(table), draws=0), {one.name: one.title for one in all_measures(table)}
    assert (titles["missed_scan_rate"], found["missed_scan_rate"].value) == ("Scans with a lesion and no outline", 0)
    assert found["lesion_sensitivity"].value == 0


def test_froc_is_monais() -> None:
    from monai.metrics.froc import compute_froc_curve_data, compute_froc_score

    random = np.random.default_rng(0)
    hit = random.random(60) < 0.6
    score = np.round(random.random(60) * 0.6 + 0.3 * hit, 2)
    false_per_scan, sensitivity = froc(hit, score, 50, 30)
    theirs = compute_froc_curve_data(score[~hit], score[hit], 50, 30)
    expected = compute_froc_score(*theirs, eval_thresholds=FALSE_PER_SCAN)
    assert froc_score(false_per_scan, sensitivity) == pytest.approx(expected, abs=0.02)
    for at in zip(*theirs, strict=True):
        assert any(np.allclose(at, mine) for mine in zip(false_per_scan, sensitivity, strict=True))


def test_froc_by_hand_and_with_weights() -> None:
    truth, score = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.8, 0.3])
    false_per_scan, sensitivity = froc(truth, score, 4, 2)
    assert false_per_scan.tolist() == [0, 0, 0.5, 1.0]
    assert sensitivity.tolist() == [0, 0.25, 0.5, 0.5]
    twice = froc(truth, score, 8, 4, np.full(4, 2.0))
    assert twice[0].tolist() == false_per_scan.tolist()
    assert np.isnan(froc(truth, score, 0, 2)[1]).all()
    assert froc_score(*froc(np.empty(0, bool), np.empty(0), 3, 3)) == 0


def test_regions_are_scored_and_matched_as_in_detection() -> None:
    truth = disc(SIZE, (20, 20), 8)
    predicted = truth | disc(SIZE, (40, 55), 3)
    probability = np.where(truth, 0.9, 0.6).astype(np.float32)
    regions = scored_regions(truth, predicted, probability)
    assert sorted(regions) == [(pytest.approx(0.6), False), (pytest.approx(0.9), True)]
    assert sum(one.hit for one in regions) == detect(truth, predicted).found
    assert scored_regions(truth, EMPTY, probability) == ()
    assert scored_regions(EMPTY, predicted, probability)[0].hit is False


def test_the_froc_score_of_a_table_has_an_interval_over_groups() -> None:
    cases = [made_case(at) for at in range(60)]
    rows = [
        replace(case, regions=[(0.5 + at / 200, case.label != "normal")] if case.outlined else []) for at, case in enumerate(cases)
    ]
    table = table_of(rows, classes=CLASSES, no_lesion="normal")
    assert table.has_regions
    measure = next(one for one in all_measures(table) if one.name == "froc")
    found = estimate(table, [measure], draws=50)["froc"]
    assert found.low is not None
    assert 0 < found.low < found.value < found.high  # type: ignore[operator]
    half = table_of([replace(rows[0], regions=None), *rows[1:]], classes=CLASSES, no_lesion="normal")
    assert half.has_regions == (rows[0].outline is None)
    assert not any(one.name == "froc" for one in all_measures(half))
