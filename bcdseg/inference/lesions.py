"""Lesions of a mask and their measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import ConvexHull
from skimage.measure import label, perimeter_crofton, regionprops

from bcdseg.errors import OptionError
from bcdseg.types import SPACING_RANGE, Mask, Point, Spacing

EVERY_NEIGHBOUR = 2  # skimage connectivity: pixels that touch at a corner belong to one lesion


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One outlined lesion and its measurements.

    The axes are those of the ellipse with the second moments of the lesion, as in scikit-image's ``regionprops``.
    They are computed in millimetres where the pixel spacing is known, so that non-square pixels don't tilt them.

    Attributes:
        area_px: Number of pixels.
        box: Top, left, bottom and right of the bounding box; bottom and right are one past the last pixel.
        centroid: Row and column of the centroid.
        long_axis_px: Length of the long axis in pixels.
        short_axis_px: Length of the short axis in pixels.
        long_axis_ends: End points of the long axis, each a row and a column.
        short_axis_ends: End points of the short axis.
        orientation: Angle from the horizontal to the long axis in degrees, counter-clockwise, above -90 and up to 90.
        taller_than_wide: Height over width of the box, in millimetres where known; above 1 means taller than wide.
        circularity: 4 pi area over perimeter squared: 1 for a disc, lower for an irregular outline.
        solidity: Fraction of its convex hull that the lesion fills.
        probability: Mean mask probability inside the lesion.
        area_mm2: Area in square millimetres; None when the pixel spacing is unknown.
        long_axis_mm: Length of the long axis in millimetres, or None.
        short_axis_mm: Length of the short axis in millimetres, or None.
    """

    area_px: int
    box: tuple[int, int, int, int]
    centroid: Point
    long_axis_px: float
    short_axis_px: float
    long_axis_ends: tuple[Point, Point]
    short_axis_ends: tuple[Point, Point]
    orientation: float
    taller_than_wide: float
    circularity: float
    solidity: float
    probability: float
    area_mm2: float | None = None
    long_axis_mm: float | None = None
    short_axis_mm: float | None = None

    def __str__(self) -> str:
        if self.long_axis_mm is None:
            return f"{self.long_axis_px:.0f} x {self.short_axis_px:.0f} px"
        return f"{self.long_axis_mm:.1f} x {self.short_axis_mm:.1f} mm"


def check_spacing(spacing: float | tuple[float, float]) -> Spacing:
    """Return millimetres per pixel, down and across, from one number or two."""
    pair = (spacing, spacing) if isinstance(spacing, Real) else tuple(spacing)  # type: ignore[arg-type]
    least, most = SPACING_RANGE
    if len(pair) != 2 or not all(isinstance(value, Real) and least <= value <= most for value in pair):
        raise OptionError(
            f"spacing={spacing!r}: give millimetres per pixel, one number from {least:g} to {most:g}, or two: down and across."
        )
    return float(pair[0]), float(pair[1])


def find_lesions(
    over_threshold: Mask, probability: NDArray[np.float32], *, min_share: float, spacing: Spacing | None
) -> tuple[Mask, tuple[Lesion, ...]]:
    """Remove the small components of a mask and measure the remaining lesions.

    Returns:
        Mask without small components, and its lesions, the largest first.
    """
    rows, columns = np.flatnonzero(over_threshold.any(axis=1)), np.flatnonzero(over_threshold.any(axis=0))
    if not len(rows):
        return over_threshold, ()
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # lesions are small, scans may be large
    mask, components = _remove_small_components(over_threshold, window, max(1, min_share * over_threshold.size))
    regions = regionprops(components, probability[window], spacing=spacing or (1.0, 1.0))
    start = (int(rows[0]), int(columns[0]))
    lesions = tuple(sorted((_measure(region, start, spacing) for region in regions), key=lambda lesion: -lesion.area_px))
    return mask, lesions


def without_small_components(mask: Mask, smallest: float) -> Mask:
    """Return a mask without its components of fewer pixels than the smallest lesion has."""
    return _remove_small_components(mask, (slice(None), slice(None)), max(1, smallest))[0]


def _remove_small_components(mask: Mask, window: tuple[slice, slice], smallest: float) -> tuple[Mask, NDArray[np.int32]]:
    """Return the mask and the label image of its window, both without components of fewer pixels than the smallest."""
    components, count = label(mask[window], connectivity=EVERY_NEIGHBOUR, return_num=True)
    areas = np.bincount(components.ravel(), minlength=count + 1)
    if (areas[1:] >= smallest).all():
        return mask, components
    components = np.where(areas[components] >= smallest, components, 0)
    kept = np.zeros_like(mask)
    kept[window] = components > 0
    return kept, components


def _measure(region: Any, start: tuple[int, int], spacing: Spacing | None) -> Lesion:
    down, across = spacing or (1.0, 1.0)
    top, left, bottom, right = (int(edge) for edge in region.bbox)
    # centroid_local is a by-product of the moments, which the axes need anyway; centroid lists every pixel.
    centroid = start[0] + top + float(region.centroid_local[0]) / down, start[1] + left + float(region.centroid_local[1]) / across
    # regionprops measures the angle from the row axis: a step along the long axis is (cos, sin) in rows and columns.
    along = math.cos(region.orientation), math.sin(region.orientation)
    degrees = math.degrees(math.atan2(-along[0], along[1]))  # row numbers increase downwards
    long, short = float(region.axis_major_length), float(region.axis_minor_length)
    long_ends = _ends(centroid, along, long, (down, across))
    short_ends = _ends(centroid, (-along[1], along[0]), short, (down, across))
    return Lesion(
        area_px=int(region.num_pixels),
        box=(start[0] + top, start[1] + left, start[0] + bottom, start[1] + right),
        centroid=centroid,
        long_axis_px=math.dist(*long_ends),
        short_axis_px=math.dist(*short_ends),
        long_axis_ends=long_ends,
        short_axis_ends=short_ends,
        orientation=degrees + 180 if degrees <= -90 else degrees - 180 if degrees > 90 else degrees,
        taller_than_wide=(bottom - top) * down / ((right - left) * across),
        circularity=_circularity(region.image, down / across),
        solidity=_solidity(region.image),
        probability=float(region.intensity_mean),
        area_mm2=None if spacing is None else float(region.area),
        long_axis_mm=None if spacing is None else long,
        short_axis_mm=None if spacing is None else short,
    )


def _ends(middle: Point, along: Point, length: float, spacing: Spacing) -> tuple[Point, Point]:
    rows, columns = along[0] * length / 2 / spacing[0], along[1] * length / 2 / spacing[1]
    return (middle[0] - rows, middle[1] - columns), (middle[0] + rows, middle[1] + columns)


def _solidity(region: Mask) -> float:
    """Return area over area of the convex hull of all pixel corners; rasterizing the hull would take longer than the network."""
    rows = np.flatnonzero(region.any(axis=1))
    left, right = region.argmax(axis=1)[rows], region.shape[1] - region[:, ::-1].argmax(axis=1)[rows]
    corners = [np.column_stack((rows + down, side)) for down in (0, 1) for side in (left, right)]
    return float(region.sum() / ConvexHull(np.concatenate(corners)).volume)


def _circularity(region: Mask, aspect: float) -> float:
    """Return the circularity, computed on square pixels: a perimeter counted on non-square pixels would be wrong."""
    if not math.isclose(aspect, 1.0, rel_tol=1e-3):
        height, width = region.shape[0] + 2, region.shape[1] + 2
        size = (max(3, round(width / aspect)), height) if aspect > 1 else (width, max(3, round(height * aspect)))
        smooth = Image.fromarray(np.pad(region, 1).astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        region = np.asarray(smooth) >= 0.5
    # Crofton's formula, because counting edge pixels overestimates the perimeter of slanted outlines.
    perimeter = float(perimeter_crofton(np.pad(region, 1)))
    return 1.0 if perimeter == 0 else min(1.0, 4 * math.pi * float(region.sum()) / perimeter**2)
