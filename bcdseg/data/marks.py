"""Marks that people leave on a scan, painted by chance: calipers with their dotted lines, words, body markers.

They lie anywhere, on a lesion or far from it, so that a network learns that a mark says nothing of what is under it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CROSSES = (cv2.MARKER_CROSS, cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS, cv2.MARKER_STAR, cv2.MARKER_DIAMOND)
SIDES, PLACES = ("RT", "LT", "rt", "lt", "R", "L"), ("", "2", "6", " UOQ", " LIQ", " AXILLA", " BREAST", " 3 o'clock")
USUAL = 256
"""Height in pixels at which marks have their usual size; they grow and shrink with the scan."""

Scan = NDArray[Any]
Random = np.random.Generator


def paint_marks(image: Scan, rng: Random) -> Scan:
    """A copy of a scan, 8 bits deep, with one kind of marks or several."""
    image = np.ascontiguousarray(image).copy()
    kinds = rng.random(3) < (0.8, 0.4, 0.3)
    if kinds[0] or not kinds.any():
        for _ in range(int(rng.integers(1, 3))):
            _measure(image, rng)
    if kinds[1]:
        _write(image, rng)
    if kinds[2]:
        _place_body_marker(image, rng)
    return image


def _measure(image: Scan, rng: Random) -> None:
    """One or two pairs of calipers, the second across the first, as a lesion is measured."""
    size, centre = np.array(image.shape[1::-1]), rng.uniform(0.08, 0.92, 2)
    pen, angle, length = _pen(rng), rng.uniform(0, np.pi), rng.uniform(0.06, 0.45)
    cross, arms = int(rng.choice(CROSSES)), _pixels(image, rng.uniform(6, 15))
    thick = int(rng.integers(1, 3)) if arms > 10 else 1
    dotted, numbered = rng.random(2) < 0.6
    for number in range(int(rng.integers(1, 3))):
        turned = angle + number * np.pi / 2 + rng.normal(0, 0.15)
        half = length * np.array([np.cos(turned), np.sin(turned)]) / 2 * rng.uniform(0.6, 1)
        ends = [(centre + side * half + rng.normal(0, 0.01, 2)) * size for side in (-1, 1)]
        if dotted:
            _dot(image, *ends, tone=int(pen[0] * rng.uniform(0.6, 1)), gap=float(_pixels(image, rng.uniform(2.5, 5))))
        for x, y in ends:
            cv2.drawMarker(image, (int(x), int(y)), pen, cross, arms, thick)
        if numbered:
            _text(image, str(number + 1), ends[0] + arms * rng.uniform(-1, 1, 2), pen)


def _dot(image: Scan, start: Scan, end: Scan, *, tone: int, gap: float) -> None:
    at = np.linspace(start, end, max(2, int(np.hypot(*(end - start)) / gap))).astype(int)
    x, y = at[((at >= 0) & (at < image.shape[1::-1])).all(axis=1)].T
    image[y, x] = tone


def _write(image: Scan, rng: Random) -> None:
    """A side and a place, or a measured length."""
    words = rng.choice(SIDES) + rng.choice(PLACES) if rng.random() < 0.6 else f"{rng.integers(1, 4)} L {rng.uniform(0.3, 4):.2f} cm"
    _text(image, str(words), rng.uniform((0, 0.05), (0.8, 0.98)) * image.shape[1::-1], _pen(rng), rng.uniform(0.3, 0.55))


def _place_body_marker(image: Scan, rng: Random) -> None:
    """A little breast with the probe on it, at an edge as a rule."""
    height, width = image.shape[:2]
    across = rng.choice([rng.uniform(0.08, 0.25), rng.uniform(0.75, 0.92)])
    x, y, radius = int(across * width), int(rng.uniform(0.1, 0.92) * height), _pixels(image, rng.uniform(9, 20))
    pen, thick = _pen(rng), int(rng.integers(1, 3))
    if rng.random() < 0.5:
        cv2.circle(image, (x, y), radius, pen, thick)
    else:
        cv2.ellipse(image, (x, y), (radius, 2 * radius // 3), 0, 0, 180, pen, thick)
        cv2.line(image, (x - radius, y), (x + radius, y - radius // 2), pen, thick)
    cv2.circle(image, (x, y), max(1, radius // 6), pen, -1)
    probe, angle = np.array([x, y]) + rng.uniform(-radius, radius, 2), rng.uniform(0, np.pi)
    reach = radius / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = ((probe + side * reach).astype(int).tolist() for side in (-1, 1))
    cv2.line(image, start, end, pen, thick + 1)


def _text(image: Scan, text: str, at: Scan, pen: tuple[int, ...], size: float = 0.35) -> None:
    scale = size * max(image.shape[0] / USUAL, 0.5)
    cv2.putText(image, text, (int(at[0]), int(at[1])), cv2.FONT_HERSHEY_SIMPLEX, scale, pen, 1, cv2.LINE_AA)


def _pen(rng: Random) -> tuple[int, int, int]:
    return (int(rng.integers(160, 256)),) * 3


def _pixels(image: Scan, usual: float) -> int:
    return max(2, round(float(usual * image.shape[0] / USUAL)))
