"""Agreement of a runtime with torch at fp32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bcdseg.messages import percent
from bcdseg.runtimes.base import Array, Calibration, RawOutput
from bcdseg.types import Pixels

SYNTHETIC_SIZES = ((256, 256), (180, 240), (470, 560))  # heights and widths of the synthetic scans
HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Difference between the outputs of two runtimes over some scans.

    Attributes:
        scans: Number of compared scans.
        mask: Fraction of pixels that only one of the two outlines.
        mask_probability: Mean absolute difference of the mask probabilities.
        probability: Largest absolute difference of a class probability.
        mean_probability: Mean absolute difference of the class probabilities.
    """

    scans: int
    mask: float
    mask_probability: float
    probability: float
    mean_probability: float

    def __str__(self) -> str:
        return (
            f"{percent(self.mask, 3)} of the mask's pixels differ, mask probabilities by {self.mask_probability:.1e} on average, "
            f"class probabilities by {self.probability:.1e} at most, over {self.scans} scans"
        )


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Upper bounds of a difference, with the attributes of ``Difference``."""

    mask: float
    mask_probability: float
    probability: float
    mean_probability: float

    def exceeded(self, difference: Difference) -> str | None:
        """Return a description of the first bound that a difference exceeds, or None."""
        for name in ("mask", "mask_probability", "probability", "mean_probability"):
            allowed, measured = getattr(self, name), getattr(difference, name)
            if not measured <= allowed:  # not >, so that NaN exceeds too
                return f"{difference}; allowed are {allowed:g} for {name.replace('_', ' ')}"
        return None


EXACT = Bound(mask=0.001, mask_probability=0.001, probability=0.001, mean_probability=0.001)
CLOSE = Bound(mask=0.02, mask_probability=0.02, probability=1.0, mean_probability=0.02)
HALVED = Bound(mask=0.001, mask_probability=0.001, probability=0.01, mean_probability=0.002)
BOUNDS = {"fp32": EXACT, "fp16": HALVED, "bf16": CLOSE, "int8": CLOSE}


def compare(pairs: Iterable[tuple[RawOutput, RawOutput]], threshold: float = HALF) -> Difference:
    """Compute the difference over pairs of raw outputs whose ``classes`` are probabilities."""
    masks: list[tuple[float, float]] = []
    classes: list[tuple[float, float]] = []
    scans = 0
    for one, other in pairs:
        scans += 1
        if one.mask is not None and other.mask is not None:
            flipped = (one.mask >= threshold) != (other.mask >= threshold)
            masks.append((float(flipped.mean()), float(np.abs(one.mask - other.mask).mean())))
        if one.classes is not None and other.classes is not None:
            difference = np.abs(one.classes - other.classes)
            classes.append((float(difference.max()), float(difference.mean())))
    return Difference(
        scans=scans,
        mask=_mean([flipped for flipped, _ in masks]),
        mask_probability=_mean([difference for _, difference in masks]),
        probability=max((largest for largest, _ in classes), default=0.0),
        mean_probability=_mean([difference for _, difference in classes]),
    )


def softmax(logits: Array | None) -> Array | None:
    """Return the softmax of each row of logits; None without logits."""
    if logits is None:
        return None
    probabilities: Array = Calibration().probabilities(logits).astype(np.float32)
    return probabilities


def synthetic_scans() -> list[Pixels]:
    """Return synthetic scans of several sizes, speckle with a dark ellipse, for comparisons without real scans."""
    return [_synthetic_scan(seed, size) for seed, size in enumerate(SYNTHETIC_SIZES)]


def _synthetic_scan(seed: int, size: tuple[int, int]) -> Pixels:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]] / np.array(size)[:, None, None] - 0.5
    dark = (rows * 5) ** 2 + (columns * 4) ** 2 <= 1
    speckle = random.gamma(4, 25, size) * np.where(dark, 0.3, 1) * (1 - 0.5 * (rows + 0.5))
    pixels: Pixels = np.clip(speckle, 0, 255).astype(np.uint8)
    return pixels


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
