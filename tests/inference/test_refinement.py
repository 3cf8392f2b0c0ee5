"""A model that processes the window around the main outline once more, enlarged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundled_figures import SCANS
from PIL import Image
from scipy.special import expit, logit

import bcdseg
from bcdseg import Model, Prediction, Rules, errors
from bcdseg.types import Mask

FACTOR = 1.6


@pytest.fixture(scope="module")
def once() -> Model:
    """Return the bundled model with a single pass."""
    model = bcdseg.load("bus-multi", device="cpu", runtime="torch")
    model.rules = replace(model.rules, refinement=None)
    return model


@pytest.fixture(scope="module")
def refined() -> Model:
    """Return the bundled model with a second pass."""
    model = bcdseg.load("bus-multi", device="cpu", runtime="torch")
    model.rules = replace(model.rules, refinement=FACTOR)
    return model


def scan_named(name: str) -> Path:
    return next(path for path in SCANS if path.stem == name)


def truth(scan: Path) -> Mask:
    masks = [np.asarray(Image.open(path).convert("L")) > 127 for path in scan.parent.glob(f"{scan.stem}_mask*.png")]
    return np.any(masks, axis=0)


def dice(prediction: Prediction, mask: Mask) -> float:
    assert prediction.mask is not None
    return float(2 * (prediction.mask & mask).sum() / (prediction.mask.sum() + mask.sum()))


def probability(prediction: Prediction) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    assert prediction.mask_probability is not None
    return prediction.mask_probability  # type: ignore[return-value]


def test_the_window_is_the_mean_of_both_passes_and_the_rest_stays(once: Model, refined: Model) -> None:
    """Compare with two predictions of one pass: of the scan, and of the window as a scan of its own."""
    pixels = np.asarray(Image.open(scan_named("benign (21)")).convert("L"))
    first, both = once.predict(pixels), refined.predict(pixels)
    changed = np.argwhere(probability(first) != probability(both))
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0) + 1
    top_edge, left_edge, bottom_edge, right_edge = first.lesions[0].box
    side = max(FACTOR * max(bottom_edge - top_edge, right_edge - left_edge), 0.3 * max(pixels.shape))
    assert (bottom - top, right - left) == pytest.approx((side, side), rel=0.1)

    window = slice(top, bottom), slice(left, right)
    second = once.predict(pixels[window])
    expected = expit((logit(probability(first)[window].astype(float)) + logit(probability(second).astype(float))) / 2)
    np.testing.assert_allclose(probability(both)[window], expected, atol=1e-5)
    assert both.probabilities == first.probabilities


def test_the_outline_of_a_small_lesion_is_closer_to_the_truth(once: Model, refined: Model) -> None:
    scan = scan_named("benign (21)")
    before, after = (dice(model.predict(scan), truth(scan)) for model in (once, refined))
    assert after > before + 0.03


def test_scans_predicted_together_are_predicted_as_alone(refined: Model) -> None:
    some = SCANS[:4]
    for together, path in zip(refined.predict(some, batch_size=4), some, strict=True):
        np.testing.assert_allclose(probability(together), probability(refined.predict(path)), atol=1e-4)


def test_a_blank_scan_and_a_lesion_that_fills_the_scan_take_one_pass(once: Model, refined: Model) -> None:
    lesion = once.predict(scan_named("benign (2)")).lesions[0]
    pixels = np.asarray(Image.open(scan_named("benign (2)")).convert("L"))
    filled = pixels[lesion.box[0] : lesion.box[2], lesion.box[1] : lesion.box[3]]
    for one in (np.zeros((200, 300), np.uint8), filled):
        np.testing.assert_array_equal(probability(once.predict(one)), probability(refined.predict(one)))


def test_the_factor_is_saved_with_the_model(refined: Model, tmp_path: Path) -> None:
    refined.save(tmp_path / "model")
    assert bcdseg.load(tmp_path / "model", device="cpu").rules.refinement == FACTOR


@pytest.mark.parametrize("factor", [0.5, 11, float("nan")])
def test_a_factor_that_is_not_possible_is_refused(factor: float) -> None:
    with pytest.raises(errors.OptionError, match="refinement"):
        Rules(refinement=factor)


def test_the_second_pass_does_not_erase_an_outline(once: Model, refined: Model) -> None:
    threshold = once.rules.threshold
    for first, both in zip(once.predict(SCANS), refined.predict(SCANS), strict=True):
        before, after = (probability(one) >= threshold for one in (first, both))
        assert not before.any() or (before & after).sum() > 0.2 * before.sum()
