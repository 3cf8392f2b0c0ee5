"""Shapes of annotated lesions: polygons that are checked, ellipses, and small masks at a position."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from bcdseg.data.annotations.runs import lesion_of
from bcdseg.data.annotations.samples import AnnotatedImage
from bcdseg.errors import InputError
from bcdseg.types import LesionMask, Mask

CIRCLE_POINTS = 128


def check_polygon(numbers: Iterable[Any], what: str) -> tuple[float, ...]:
    """Return the coordinates of a polygon as numbers, x and y alternating.

    Raises:
        InputError: They are not finite numbers of three points or more.
    """
    try:
        values = tuple(float(number) for number in numbers)
    except (TypeError, ValueError):
        raise InputError(f"{what}: a coordinate of its polygon is not a number") from None
    if len(values) < 6 or len(values) % 2 or not all(map(math.isfinite, values)):
        raise InputError(f"{what}: its polygon has {len(values)} numbers; x and y of three points or more are expected")
    return values


def ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> tuple[float, ...]:
    """Return an ellipse as a polygon, turned clockwise by an angle in degrees."""
    turn = math.radians(degrees)
    values: list[float] = []
    for step in range(CIRCLE_POINTS):
        angle = 2 * math.pi * step / CIRCLE_POINTS
        across, down = radii[0] * math.cos(angle), radii[1] * math.sin(angle)
        values.append(centre[0] + across * math.cos(turn) - down * math.sin(turn))
        values.append(centre[1] + across * math.sin(turn) + down * math.cos(turn))
    return tuple(values)


def place(pixels: Mask, start: tuple[int, int], image: AnnotatedImage, label: str, what: str) -> LesionMask:
    """Return the lesion of a small mask whose first pixel is at a row and a column of its image."""
    (top, left), (height, width) = start, pixels.shape
    if min(top, left) < 0 or top + height > image.size[0] or left + width > image.size[1]:
        raise InputError(f"{what}: its mask is outside of the image")
    mask = np.zeros(image.size, bool)
    mask[top : top + height, left : left + width] = pixels
    return lesion_of(mask, image.file, label)
