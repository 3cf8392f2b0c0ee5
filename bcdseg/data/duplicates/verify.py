"""Verification of a candidate pair by registration and comparison of texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from bcdseg.data.duplicates.candidates import Placement
from bcdseg.data.duplicates.descriptors import Floats, Gray

Grid = NDArray[np.float64]

ROUNDS = 6  # of refining the placement
WINDOW = 17  # side of the piece in which two textures are compared
TEXTURED = 0.35  # deviation of the evened picture above which there is a texture to compare
SMALLEST_OVERLAP = 0.3  # part of the smaller scan that the other one must cover
MAY_DIFFER = 1 / 3  # part of the compared places that may be covered with marks
SMALLEST_TEXTURE = 0.08  # part of the overlap that must have texture


@dataclass(frozen=True)
class Laid:
    """A scan at its work size: the picture, the same evened out, and where it shows tissue."""

    gray: Gray
    even: Floats
    tissue: NDArray[np.bool_]


@dataclass(frozen=True)
class Registration:
    """How two scans agree where they overlap.

    Attributes:
        score: In two thirds of the overlap the texture agrees at least so well (correlation, from 0 to 1). A third
            may differ, for marks on a copy; what agrees in less, as a scanner's text around another picture, counts nothing.
        placement: The refined placement of the first scan in the second.
        covered: The parts of the first and of the second scan that the overlap covers.
        brightness: Gray levels by which the second is brighter.
        contrast: How many times the second's contrast is the first's.
        disagree: The part of the compared places where the textures have nothing in common: added marks, for example.
    """

    score: float
    placement: Placement
    covered: tuple[float, float]
    brightness: float
    contrast: float
    disagree: float


def overlap(one: Laid, other: Laid, placement: Placement) -> Registration | None:
    """Compare two scans, the first lying in the second as told; None when they hardly overlap."""
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
    """Compare on the pixels of the scan in which the shared piece has fewer of them."""
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
    """The correlation in a window around each place where both have texture: what two thirds exceed; where it is low."""
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
    """The moving picture on the pixels of the still one, and where it has any there."""
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
    """One Gauss-Newton step towards the best agreement, and by how many pixels it moved."""
    slope_down, slope_across = np.gradient(laid)
    row, column = np.indices(still.shape)
    middle = np.array(still.shape) / 2
    # A place x of the still picture is to show what is laid at x + move + grow * (x - middle) now.
    columns = [slope_down, slope_down * (row - middle[0]), slope_across, slope_across * (column - middle[1]), laid]
    design = np.stack([each[inside] for each in columns], 1).astype(np.float64)
    normal = design.T @ design + 1e-3 * np.eye(5)
    step = np.linalg.solve(normal, design.T @ still[inside])
    gain = max(step[4], 0.1)
    move, grow = np.clip(step[[0, 2]] / gain, -3, 3), np.clip(step[[1, 3]] / gain, -0.04, 0.04)
    moved = float(abs(move).max() + abs(grow * middle).max())
    return scale * (1 + grow), shift + scale * (move - grow * middle), moved


def _in_pixels(placement: Placement, here: tuple[int, ...], there: tuple[int, ...]) -> tuple[Grid, Grid]:
    """The same placement from pixel index to pixel index; the middle of pixel 0 is half a pixel in."""
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
