"""Quality warnings of images, and of predictions that contradict themselves."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import draw_scan

from bcdseg.inference.postprocess import image_flags, prediction_flags

SCAN = draw_scan(0)


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.zeros((100, 100), np.uint8), "blank"),
        (np.full((100, 100), 130, np.uint8), "blank"),
        (np.where(SCAN > 60, 255, SCAN).astype(np.uint8), "saturated"),
        (np.where(np.arange(160) < 8, SCAN, 0).astype(np.uint8), "dark"),
        (SCAN[:40, :40], "tiny"),
        (np.stack([SCAN, SCAN // 3, 255 - SCAN], axis=-1), "colour"),
        (np.full((100, 100), 0.4, np.float32), "blank"),
    ],
)
def test_an_image_unlike_a_scan_is_flagged(pixels: np.ndarray, code: str) -> None:
    assert code in [flag.code for flag in image_flags(pixels)]


@pytest.mark.parametrize(
    "pixels", [SCAN, np.repeat(SCAN[..., None], 3, 2), SCAN.astype(np.float32) / 255], ids=["8 bit", "RGB", "float"]
)
def test_a_scan_is_not(pixels: np.ndarray) -> None:
    assert image_flags(pixels) == ()


@pytest.mark.parametrize(
    ("label", "outlined", "confidence", "codes"),
    [
        ("normal", True, 0.9, ["outlined-but-no-lesion"]),
        ("malignant", False, 0.9, ["no-outline"]),
        ("benign", False, 0.3, ["no-outline", "low-confidence"]),
        ("normal", False, 0.9, []),
        ("malignant", True, 0.9, []),
        ("malignant", None, 0.9, []),
        (None, True, 1.0, []),
    ],
)
def test_contradictions_and_uncertain_classes(
    label: str | None, outlined: bool | None, confidence: float, codes: list[str]
) -> None:
    flags = prediction_flags(label=label, confidence=confidence, outlined=outlined, no_lesion="normal", min_confidence=0.5)
    assert [flag.code for flag in flags] == codes
    assert all(label is None or label in flag.message for flag in flags)


def test_a_probability_just_below_the_threshold_does_not_read_as_the_threshold() -> None:
    (warning,) = prediction_flags(label="benign", confidence=0.458, outlined=True, no_lesion="normal", min_confidence=0.461)
    assert "benign at 45.8 %, below the model's threshold of 46.1 %" in warning.message


def test_without_a_class_for_no_lesion_an_outline_is_not_a_contradiction() -> None:
    assert prediction_flags(label="benign", confidence=0.9, outlined=True, no_lesion=None, min_confidence=0.5) == ()
