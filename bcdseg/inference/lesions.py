"""Lesions of a mask and their measurements.

Connected components are stored as runs of pixels: a lesion has some hundred runs where it has ten thousands of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.errors import OptionError
from bcdseg.inference.descriptors.appearance import Appearance, measure_appearance
from bcdseg.inference.descriptors.suggestions import Descriptors, suggest_descriptors
from bcdseg.inference.regions import bands, new_map
from bcdseg.types import SPACING_RANGE, Area, Box, Mask, Pixels, Point, Spacing

UNKNOWN = Descriptors("irregular", "not parallel")
EXAMINED = 8  # lesions whose appearance is measured: the largest, because a noisy map can have hundreds of outlines


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One outlined lesion and its measurements.

    The axes are those of the ellipse with the second moments of the lesion, as in scikit-image's ``regionprops``.
    They are computed in millimetres where the pixel spacing is known, so that non-square pixels don't tilt them. Pixels count as
    points: both axes of a single pixel are 0, and so is the short axis of pixels in one straight line. Areas count whole pixels.

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
        appearance: Gray values in, around and behind the lesion; None if it was measured without its scan, and after the eight
            largest lesions of a scan region.
        descriptors: Suggested BI-RADS descriptors of a mass in ultrasound: ``shape`` and ``orientation`` from the outline;
            ``margin``, ``echo_pattern`` and ``posterior`` also from the appearance, each None where it can't be suggested.
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
    appearance: Appearance | None = None
    descriptors: Descriptors = field(init=False, default=UNKNOWN)  # a default because the schema of the server omits it without one

    def __post_init__(self) -> None:
        axes, area = (self.long_axis_px, self.short_axis_px), float(self.area_px)
        if self.long_axis_mm is not None and self.short_axis_mm is not None and self.area_mm2 is not None:
            axes, area = (self.long_axis_mm, self.short_axis_mm), self.area_mm2
        descriptors = suggest_descriptors(
            axes, area, taller_than_wide=self.taller_than_wide, solidity=self.solidity, appearance=self.appearance
        )
        object.__setattr__(self, "descriptors", descriptors)

    def __str__(self) -> str:
        if self.long_axis_mm is None:
            return f"{self.long_axis_px:.0f} x {self.short_axis_px:.0f} px"
        return f"{self.long_axis_mm:.1f} x {self.short_axis_mm:.1f} mm"


def check_spacing(spacing: float | tuple[float, float]) -> Spacing:
    """Return millimetres per pixel, down and across, from one number or two."""
    given: Any = spacing
    pair = (given, given) if isinstance(given, Real) or not isinstance(given, Iterable) else tuple(given)
    least, most = SPACING_RANGE
    numbers = [float(value) for value in pair if isinstance(value, Real) and not isinstance(value, bool)]
    if len(pair) != 2 or len(numbers) != 2 or not all(least <= value <= most for value in numbers):
        raise OptionError(
            f"spacing={spacing!r}: give millimetres per pixel, one number from {least:g} to {most:g}, or two: down and across."
        )
    return numbers[0], numbers[1]


def find_lesions(
    over_threshold: Mask,
    probability: NDArray[np.float32],
    *,
    min_share: float,
    spacing: Spacing | None,
    pixels: Pixels | None = None,
    area: Area | None = None,
) -> tuple[Mask, tuple[Lesion, ...]]:
    """Remove the small components of a mask and measure the remaining lesions.

    Args:
        over_threshold: Outlines.
        probability: Lesion probability of each pixel.
        min_share: Size of the smallest lesion, as a fraction of the mask's pixels.
        spacing: Millimetres per pixel, down and across, or None.
        pixels: The scan, in which the appearance of lesions is measured; without it, they have none.
        area: Region of the scan that contains the outlines; by default the whole scan.

    Returns:
        Mask without small components, and its lesions, the largest first.
    """
    mask, components = _large_components(over_threshold, max(1, min_share * over_threshold.size))
    components.sort(key=lambda component: -component.pixels)
    whole = area or Area(box=(0, 0, *mask.shape), spacing=spacing)
    lesions = []
    for number, component in enumerate(components):
        region, appearance = component.region(), None
        if pixels is not None and number < EXAMINED:
            appearance = measure_appearance(pixels, mask, region, component.box, whole)
        mean_probability = float(probability[component.window][region].mean())
        lesions.append(_measure(component, mean_probability, spacing, appearance))
    return mask, tuple(lesions)


def largest_first(lesions: Iterable[Lesion]) -> tuple[Lesion, ...]:
    """Return lesions in descending order of area: in square millimetres where every lesion has a scale, else in pixels."""
    each = list(lesions)
    areas = [one.area_mm2 for one in each if one.area_mm2 is not None]
    sizes = areas if len(areas) == len(each) else [one.area_px for one in each]
    return tuple(each[at] for at in sorted(range(len(each)), key=lambda at: -sizes[at]))


def without_posterior_features(lesions: tuple[Lesion, ...]) -> tuple[Lesion, ...]:
    """Return the lesions of a scan that is upside down without what was measured below them."""
    return tuple(
        replace(one, appearance=replace(one.appearance, posterior_ratio=None, posterior_left=None, posterior_right=None))
        if one.appearance
        else one
        for one in lesions
    )


def without_small_components(mask: Mask, smallest: float) -> Mask:
    """Return a mask without its components of fewer pixels than the smallest lesion has."""
    return _large_components(mask, max(1, smallest))[0]


def _large_components(mask: Mask, smallest: float) -> tuple[Mask, list[Component]]:
    components, are_all = find_components(mask, smallest)
    if are_all:
        return mask, components
    kept: Mask = new_map(mask.shape, np.bool_)
    for component in components:
        component.paint(kept)
    return kept, components


def _measure(component: Component, probability: float, spacing: Spacing | None, appearance: Appearance | None) -> Lesion:
    """Measure a lesion with this mean probability."""
    down, across = spacing or (1.0, 1.0)
    top, left, bottom, right = box = component.box
    pixels = component.pixels
    centroid, (vertical, mixed, horizontal) = _moments(component)
    vertical, mixed, horizontal = vertical * down**2, mixed * down * across, horizontal * across**2
    # A uniform ellipse has the variance (axis / 4) ** 2 along each axis; the long one is at this angle from the vertical.
    angle = math.atan2(2 * mixed, vertical - horizontal) / 2
    angle += math.pi * (angle < -1.2)  # rounding then swaps the ends of no horizontal, vertical or diagonal axis
    mean, half = (vertical + horizontal) / 2, math.hypot((vertical - horizontal) / 2, mixed)
    long, short = 4 * math.sqrt(mean + half), 4 * math.sqrt(max(0.0, mean - half))
    along = math.cos(angle), math.sin(angle)
    degrees = math.degrees(math.atan2(-along[0], along[1]))  # row numbers increase downwards
    long_ends = _ends(centroid, along, long, (down, across))
    short_ends = _ends(centroid, (-along[1], along[0]), short, (down, across))
    return Lesion(
        area_px=pixels,
        box=box,
        centroid=centroid,
        long_axis_px=math.dist(*long_ends),
        short_axis_px=math.dist(*short_ends),
        long_axis_ends=long_ends,
        short_axis_ends=short_ends,
        orientation=degrees + 180 if degrees <= -90 else degrees - 180 if degrees > 90 else degrees,
        taller_than_wide=(bottom - top) * down / ((right - left) * across),
        circularity=_circularity(component, down / across),
        solidity=pixels / _hull_area(component),
        probability=probability,
        area_mm2=None if spacing is None else pixels * down * across,
        long_axis_mm=None if spacing is None else long,
        short_axis_mm=None if spacing is None else short,
        appearance=appearance,
    )


def _moments(component: Component) -> tuple[Point, tuple[float, float, float]]:
    """Return the mean row and column, and the variance of the rows, the covariance, and the variance of the columns."""
    lengths, middles = component.stops - component.starts, (component.starts + component.stops - 1) / 2
    pixels = component.pixels
    row, column = float(component.rows @ lengths / pixels), float(middles @ lengths / pixels)
    rows, columns = component.rows - row, middles - column
    in_runs = lengths @ (lengths**2 - 1) / 12  # sum of the squared distances of columns from the middle of their run
    mixed, horizontal = rows * lengths @ columns, columns**2 @ lengths + in_runs
    return (row, column), (float(rows**2 @ lengths / pixels), float(mixed / pixels), float(horizontal / pixels))


def _ends(middle: Point, along: Point, length: float, spacing: Spacing) -> tuple[Point, Point]:
    rows, columns = along[0] * length / 2 / spacing[0], along[1] * length / 2 / spacing[1]
    return (middle[0] - rows, middle[1] - columns), (middle[0] + rows, middle[1] + columns)


def _hull_area(component: Component) -> float:
    """Return the area of the convex hull of all pixel corners, exactly and without a raster."""
    first_of_row = np.flatnonzero(np.diff(component.rows, prepend=-1))
    left, right = np.minimum.reduceat(component.starts, first_of_row), np.maximum.reduceat(component.stops, first_of_row)
    return _area_under_hull(_corners(right)) + _area_under_hull(_corners(-left))


def _corners(ends: Integers) -> Integers:
    """Return the outermost pixel corner on each grid line, from the outermost corner of the pixels in each row."""
    corners: Integers = np.maximum(np.append(ends, ends[-1]), np.insert(ends, 0, ends[0]))
    return corners


def _area_under_hull(heights: Integers) -> float:
    """Return the area under the upper convex hull of points at the heights and at equal distances of 1."""
    places = np.arange(len(heights))
    while True:
        steps, rises = np.diff(places), np.diff(heights)
        above = rises[:-1] * steps[1:] > rises[1:] * steps[:-1]  # the line between the point before and the point after
        if above.all():
            return float((heights[1:] + heights[:-1]) @ steps) / 2
        kept = np.concatenate(([True], above, [True]))
        places, heights = places[kept], heights[kept]


def _circularity(component: Component, aspect: float) -> float:
    """Return the circularity, computed on square pixels: a perimeter counted on non-square pixels would be wrong."""
    if not math.isclose(aspect, 1.0, rel_tol=1e-3):
        region = np.pad(component.region(), 1)
        height, width = region.shape
        size = (max(3, round(width / aspect)), height) if aspect > 1 else (width, max(3, round(height * aspect)))
        smooth = Image.fromarray(region.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        parts = find_components(np.asarray(smooth) >= 0.5)[0]
    else:
        parts = [component]
    perimeter = sum(map(_perimeter, parts))
    return min(1.0, 4 * math.pi * sum(part.pixels for part in parts) / perimeter**2) if parts else 1.0


def _perimeter(component: Component) -> float:
    """Return the perimeter by Crofton's formula, because counting edge pixels overestimates that of slanted outlines.

    It is half of pi times the mean over four directions of the number of crossings of the outline by parallel lines, times the
    distance of the lines.
    """
    directly, left, right = component.shared
    straight = 2 * len(component.rows) + 2 * (component.pixels - directly)
    slanted = 2 * (component.pixels - left) + 2 * (component.pixels - right)
    return math.pi / 8 * (straight + slanted / math.sqrt(2))


Integers = NDArray[np.intp]
Window = tuple[slice, slice]
"""Slices of the rows and columns of a mask."""


@dataclass(frozen=True, eq=False)
class Component:
    """Connected component: its runs, from the top left to the bottom right. Pixels that touch at a corner are connected.

    Attributes:
        rows: Row of each run.
        starts: First column of each run.
        stops: Column after the last one of each run.
        shared: Numbers of pixels with a pixel of the component directly below, below to the left and below to the right.
    """

    rows: Integers
    starts: Integers
    stops: Integers
    shared: tuple[int, int, int]

    @cached_property
    def pixels(self) -> int:
        """Number of pixels."""
        return int((self.stops - self.starts).sum())

    @cached_property
    def box(self) -> Box:
        """Bounding box."""
        return int(self.rows[0]), int(self.starts.min()), int(self.rows[-1]) + 1, int(self.stops.max())

    @property
    def window(self) -> Window:
        """Slices of the rows and columns of the bounding box."""
        top, left, bottom, right = self.box
        return slice(top, bottom), slice(left, right)

    def paint(self, mask: Mask, top: int = 0, left: int = 0) -> None:
        """Set the pixels of the component in a mask, whose first pixel is at the given row and column."""
        runs = zip((self.rows - top).tolist(), (self.starts - left).tolist(), (self.stops - left).tolist(), strict=True)
        for row, start, stop in runs:
            mask[row, start:stop] = True

    def region(self) -> Mask:
        """Return the pixels of the component in its bounding box."""
        top, left, bottom, right = self.box
        region = np.zeros((bottom - top, right - left), bool)
        self.paint(region, top, left)
        return region


def find_components(mask: Mask, smallest: float = 1) -> tuple[list[Component], bool]:
    """Return the components with at least the smallest number of pixels, and whether these are all components."""
    rows, starts, stops = _runs(mask)
    above, below = _touching(rows, starts, stops, mask.shape[1])
    numbers = _connected(len(rows), above, below)
    large = np.bincount(numbers, stops - starts) >= smallest
    overlaps = [np.minimum(stops[above], stops[below] + by) - np.maximum(starts[above], starts[below] + by) for by in (0, 1, -1)]
    shared = [np.bincount(numbers[above], np.maximum(overlap, 0), len(large)) for overlap in overlaps]
    components = []
    for number in np.flatnonzero(large):
        own = numbers == number
        directly, left, right = (int(pixels[number]) for pixels in shared)
        components.append(Component(rows[own], starts[own], stops[own], (directly, left, right)))
    return components, bool(large.all())


def _runs(mask: Mask) -> tuple[Integers, Integers, Integers]:
    """Return row, first column and column after the last one of each run."""
    width = mask.shape[1] + 1  # a column without pixels ends the runs of each row
    edges = []
    for rows in bands(mask.shape):
        padded = np.zeros((rows.stop - rows.start, width), bool)
        padded[:, :-1] = mask[rows]
        flat = padded.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        edges.append((np.insert(changes, 0, 0) if flat[0] else changes) + rows.start * width)
    starts, stops = (np.concatenate(edges)[first::2] for first in (0, 1))
    rows_of_runs = starts // width
    return rows_of_runs, starts - rows_of_runs * width, stops - rows_of_runs * width


def _touching(rows: Integers, starts: Integers, stops: Integers, width: int) -> tuple[Integers, Integers]:
    """Return the pairs of runs in adjacent rows that touch, including at corners, by their indices."""
    key = rows * (width + 1)  # so that the runs of all rows are in one order
    first = np.searchsorted(key + stops, key + width + 1 + starts, side="left")
    last = np.searchsorted(key + starts, key + width + 1 + stops, side="right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts, counts)
    return above, np.repeat(first, counts) + within


def _connected(count: int, above: Integers, below: Integers) -> Integers:
    """Return the number of the component of each run; components are numbered in the order of their first run."""
    root = np.arange(count)
    while len(above):
        one, other = root[above], root[below]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root != root[root]).any():
            root = root[root]
        apart = root[above] != root[below]
        above, below = above[apart], below[apart]
    return np.unique(root, return_inverse=True)[1]
