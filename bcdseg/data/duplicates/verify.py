"""Verification of candidate pairs by image registration and texture correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from bcdseg.data.duplicates.candidates import Placement
from bcdseg.data.duplicates.descriptors import Floats, Gray

Grid = NDArray[np.float64]

ROUNDS = 6  # iterations of the registration
WINDOW = 17  # side of the window in which textures are compared
TEXTURED = 0.35  # standard deviation of the normalised image above which there is texture to compare
SMALLEST_OVERLAP = 0.3  # fraction of the smaller scan that the overlap must cover
MAY_DIFFER = 1 / 3  # fraction of the compared pixels that annotations may cover
SMALLEST_TEXTURE = 0.08  # fraction of the overlap that must have texture


@dataclass(frozen=True)
class Laid:
    """A scan at its working size: the image, the locally normalised image, and the tissue mask."""

    gray: Gray
    even: Floats
    tissue: NDArray[np.bool_]


@dataclass(frozen=True)
class Registration:
    """The agreement of two scans in their overlap after registration.

    Attributes:
        score: Correlation of the texture, from 0 to 1, that two thirds of the overlap reach. One third may differ because of
            annotations on a copy; agreement in less than two thirds, such as a scanner's text around another image, does not count.
        placement: Refined placement of the first scan in the second.
        covered: Fractions of the first and of the second scan that the overlap covers.
        brightness: Mean gray level of the second scan minus that of the first.
        contrast: Ratio of the second scan's contrast to the first's.
        disagree: Fraction of the compared pixels where the textures are not correlated, for example because of added annotations.
    """

    score: float
    placement: Placement
    covered: tuple[float, float]
    brightness: float
    contrast: float
    disagree: float


def overlap(one: Laid, other: Laid, placement: Placement) -> Registration | None:
    """Compare two scans at a placement of the first in the second, or return None if they hardly overlap."""
    pitch = np.array(placement.scale) * np.array(other.gray.shape) / np.array(one.gray.shape)
    if abs(pitch).prod() >= 1:
        return _compared(one, other, placement)
    turned = _compared(other, one, _inverse(placement))
    if turned is None:
        return None
    return Registration(
        turned.score,
        _inverse(turned.placement),
        turned.covered[::-1],
        -turned.brightness,
        1 / turned.contrast,
        turned.disagree,
    )


def _compared(coarse: Laid, fine: Laid, placement: Placement) -> Registration | None:
    """Compare at the resolution of the scan that has fewer pixels in the overlap."""
    still = gaussian_filter(coarse.even, 1)
    here, there = still.shape, fine.even.shape
    scale, shift = _in_pixels(placement, here, there)
    for _ in range(ROUNDS):
        laid, inside = _laid(fine.even, scale, shift, here)
        if inside.sum() < WINDOW**2:
            return None
        scale, shift, moved = _refined(still, laid, inside, scale, shift)
        if moved < 0.05:
            break
    laid, inside = _laid(fine.even, scale, shift, here)
    refined = _in_fractions(scale, shift, here, there)
    covered = float(inside.mean()), float(inside.mean() * abs(np.prod(refined.scale)))
    if max(covered) < SMALLEST_OVERLAP:
        return None
    tissue = coarse.tissue & (_laid(fine.tissue.astype(np.float32), scale, shift, here)[0] > 0.5)
    score, disagree = _agreement(still, laid, inside, tissue)
    gray = coarse.gray[inside].astype(np.float32)
    laid_gray = _laid(fine.gray.astype(np.float32), scale, shift, here)[0][inside]
    contrast = max(float(laid_gray.std()), 1e-3) / max(float(gray.std()), 1e-3)
    return Registration(score, refined, covered, float(laid_gray.mean() - gray.mean()), contrast, disagree)


def _agreement(still: Floats, laid: Floats, inside: NDArray[np.bool_], tissue: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the local texture correlation that two thirds of the pixels exceed, and the fraction of pixels where it is low."""
    weight = uniform_filter(inside.astype(np.float32), WINDOW, mode="constant")
    safe = np.maximum(weight, 1e-6)

    def mean(values: Floats) -> Floats:
        averaged: Floats = uniform_filter(values * inside, WINDOW, mode="constant") / safe
        return averaged

    spread_still, spread_laid = mean(still**2) - mean(still) ** 2, mean(laid**2) - mean(laid) ** 2
    together = mean(still * laid) - mean(still) * mean(laid)
    product = np.sqrt(np.maximum(spread_still, 1e-6) * np.maximum(spread_laid, 1e-6))
    comparable = inside & tissue & (weight > 0.5) & (np.minimum(spread_still, spread_laid) > TEXTURED**2)
    if comparable.sum() < SMALLEST_TEXTURE * inside.sum():
        return 0.0, 1.0
    agreement = np.clip(together[comparable] / product[comparable], 0, 1)
    return float(np.quantile(agreement, MAY_DIFFER)), float((agreement < 0.5).mean())


def _laid(moving: Floats, scale: Grid, shift: Grid, shape: tuple[int, ...]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the moving image resampled to the pixels of the fixed one, and a mask of the pixels that it covers."""
    ways, inside = [], []
    for axis in (0, 1):
        place = scale[axis] * np.arange(shape[axis]) + shift[axis]
        width = max(1.0, 0.9 * abs(scale[axis]))
        kernel = np.exp(-0.5 * ((place[:, None] - np.arange(moving.shape[axis])) / width) ** 2)
        ways.append((kernel / np.maximum(kernel.sum(1, keepdims=True), 1e-9)).astype(np.float32))
        inside.append((place >= 0) & (place <= moving.shape[axis] - 1))
    laid: Floats = ways[0] @ moving @ ways[1].T
    return laid, inside[0][:, None] & inside[1]


def _refined(still: Floats, laid: Floats, inside: NDArray[np.bool_], scale: Grid, shift: Grid) -> tuple[Grid, Grid, float]:
    """Return the scale and shift after one Gauss-Newton step of the registration, and the size of the step in pixels."""
    slope_down, slope_across = np.gradient(laid)
    row, column = np.indices(still.shape)
    middle = np.array(still.shape) / 2
    # Pixel x of the fixed image should have the value that the resampled one has at x + move + grow * (x - middle).
    columns = [slope_down, slope_down * (row - middle[0]), slope_across, slope_across * (column - middle[1]), laid]
    design = np.stack([each[inside] for each in columns], 1).astype(np.float64)
    normal = design.T @ design + 1e-3 * np.eye(5)
    step = np.linalg.solve(normal, design.T @ still[inside])
    gain = max(step[4], 0.1)
    move, grow = np.clip(step[[0, 2]] / gain, -3, 3), np.clip(step[[1, 3]] / gain, -0.04, 0.04)
    moved = float(abs(move).max() + abs(grow * middle).max())
    return scale * (1 + grow), shift + scale * (move - grow * middle), moved


def _in_pixels(placement: Placement, here: tuple[int, ...], there: tuple[int, ...]) -> tuple[Grid, Grid]:
    """Convert a placement from fractions to pixel indices; the centre of pixel 0 is half a pixel from the edge."""
    ours, theirs = np.array(here), np.array(there)
    scale = np.array(placement.scale) * theirs / ours
    return scale, np.array(placement.shift) * theirs + 0.5 * scale - 0.5


def _in_fractions(scale: Grid, shift: Grid, here: tuple[int, ...], there: tuple[int, ...]) -> Placement:
    ours, theirs = np.array(here), np.array(there)
    down, across = scale * ours / theirs
    top, left = (shift - 0.5 * scale + 0.5) / theirs
    return Placement((float(down), float(across)), (float(top), float(left)))


def _inverse(placement: Placement) -> Placement:
    (down, across), (top, left) = placement.scale, placement.shift
    return Placement((1 / down, 1 / across), (-top / down, -left / across))
