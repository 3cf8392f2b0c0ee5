"""Scans drawn by a script, so that the truth about them is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_scan(seed: int, size: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """Speckle with a dark ellipse."""
    rng = np.random.default_rng(seed)
    pixels = rng.gamma(4, 25, size)
    pixels[draw_ellipse(size, (size[0] / 2, size[1] / 2), (size[0] / 5, size[1] / 4))] *= 0.3
    return np.clip(pixels, 0, 255).astype(np.uint8)


def draw_ellipse(
    size: tuple[int, int], centre: tuple[float, float], half_axes: tuple[float, float], degrees: float = 0
) -> NDArray[np.bool_]:
    """An ellipse of half axes (down, across), turned counter-clockwise."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
    down, across = rows - centre[0], columns - centre[1]
    turn = np.radians(degrees)
    along = across * np.cos(turn) - down * np.sin(turn)
    athwart = across * np.sin(turn) + down * np.cos(turn)
    return (athwart / half_axes[0]) ** 2 + (along / half_axes[1]) ** 2 <= 1
