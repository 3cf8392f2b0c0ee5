"""Scans drawn by a script, with known ground truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

TISSUE = 120


def draw_scan(seed: int, size: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """Draw speckle with a dark ellipse."""
    rng = np.random.default_rng(seed)
    pixels = rng.gamma(4, 25, size)
    pixels[draw_ellipse(size, (size[0] / 2, size[1] / 2), (size[0] / 5, size[1] / 4))] *= 0.3
    return np.clip(pixels, 0, 255).astype(np.uint8)


def draw_ellipse(
    size: tuple[int, int], centre: tuple[float, float], half_axes: tuple[float, float], degrees: float = 0
) -> NDArray[np.bool_]:
    """Draw an ellipse of half axes (down, across), turned counter-clockwise."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
    down, across = rows - centre[0], columns - centre[1]
    turn = np.radians(degrees)
    along = across * np.cos(turn) - down * np.sin(turn)
    athwart = across * np.sin(turn) + down * np.cos(turn)
    return (athwart / half_axes[0]) ** 2 + (along / half_axes[1]) ** 2 <= 1


def draw_tissue(
    lesion: NDArray[np.bool_], inside: float | NDArray[np.float64] = 60, *, behind: float = 1.0, blur: float = 0.0, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw speckled tissue with a lesion of a gray level, whose edge is blurred, above a tail of brighter or darker tissue."""
    gray = np.full(lesion.shape, float(TISSUE))
    rows = np.arange(lesion.shape[0])[:, None]
    columns = lesion.any(axis=0)
    gray[(rows > np.flatnonzero(lesion.any(axis=1))[-1]) & columns] *= behind
    share = gaussian_filter(lesion.astype(float), blur) if blur else lesion.astype(float)
    speckle = np.random.default_rng(seed).gamma(12, 1 / 12, lesion.shape)
    pixels: NDArray[np.uint8] = np.clip((gray * (1 - share) + inside * share) * speckle, 0, 255).astype(np.uint8)
    return pixels


def draw_star(size: tuple[int, int], centre: tuple[float, float], radius: float, *, points: int, depth: float) -> NDArray[np.bool_]:
    """Draw a star whose points are on a circle; between them its outline goes inwards by a fraction of the radius."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
    down, across = rows - centre[0], columns - centre[1]
    star: NDArray[np.bool_] = np.hypot(down, across) < radius * (1 + depth * np.cos(points * np.arctan2(down, across))) / (
        1 + depth
    )
    return star
