"""Polygons of masks, and masks of polygons.

The rule of both directions: a pixel belongs to a polygon if its centre is inside. The contours of ``trace`` are halfway between
the centres of lesion pixels and of other pixels, so that ``fill`` restores the traced mask exactly. They are rings: the last point
is connected to the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcdseg.types import Mask, Point

EVERY_NEIGHBOUR = 2  # skimage connectivity: pixels that touch at a corner belong to one lesion
LEAST = 3  # points of a ring
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Polygon:
    """The outline of one connected region of a mask.

    Attributes:
        outer: Outer contour: rows and columns in pixels; (0, 0) is the centre of the first pixel.
        holes: Contours of the holes.
    """

    outer: tuple[Point, ...]
    holes: tuple[tuple[Point, ...], ...] = ()

    def corners(self) -> list[tuple[float, float]]:
        """Return the outline as one ring of x and y, in which (0, 0) is the upper left corner of the first pixel.

        Annotation formats count in this way. Each hole is joined to the outer contour by a bridge of no width, because polygons of
        COCO, LabelMe and YOLO have no holes.
        """
        ring = np.array(self.outer)
        for hole in self.holes:
            ring = _bridged(ring, np.array(hole))
        return to_corners(ring)


def to_corners(ring: Points | Sequence[Point]) -> list[tuple[float, float]]:
    """Convert rows and columns that start at the centre of the first pixel to x and y that start at its upper left corner."""
    return [(float(column) + 0.5, float(row) + 0.5) for row, column in ring]


def components(mask: Mask) -> Iterator[tuple[tuple[slice, slice], Mask]]:
    """Yield the connected regions of a mask in descending order of size, each with its window; corners connect."""
    from scipy.ndimage import find_objects  # takes a tenth of a second to import, which prediction doesn't need
    from skimage.measure import label

    regions, count = label(mask, connectivity=EVERY_NEIGHBOUR, return_num=True)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    windows = find_objects(regions)
    for index in sorted(range(count), key=lambda index: -sizes[index]):
        yield windows[index], regions[windows[index]] == index + 1


def trace(mask: Mask, tolerance: float = 0.0, corner: tuple[int, int] = (0, 0)) -> tuple[Polygon, ...]:
    """Return the polygons of a mask, one for each connected region, in descending order of size.

    Args:
        mask: The mask.
        tolerance: Largest deviation of a simplified contour in pixels (Douglas-Peucker). With 0 the polygons have exactly the
            pixels of the mask.
        corner: Row and column of the mask's first pixel in the image, for a mask of a window.
    """
    top, left = corner
    return tuple(
        _outline(region, (top + window[0].start, left + window[1].start), tolerance) for window, region in components(mask)
    )


def fill(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """Return the union of polygons as a mask.

    Args:
        polygons: Polygons, each as ``(x1, y1, x2, y2, ...)``; (0, 0) is the upper left corner of the first pixel. Inside is what a
            line from outside reaches after an odd number of crossings.
        size: Height and width of the mask.
    """
    mask = np.zeros(size, bool)
    for polygon in polygons:
        points = np.asarray(polygon, np.float64).reshape(-1, 2) - 0.5
        left, top = np.clip(np.floor(points.min(axis=0)), 0, size[::-1]).astype(int)
        right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, size[::-1]).astype(int) + 1
        window = mask[top:bottom, left:right]
        window |= _filled(points - (left, top), (window.shape[0], window.shape[1]))
    return mask


def _filled(points: Points, size: tuple[int, int]) -> Mask:
    """Return the pixels whose centres are inside a ring of x and y: those right of an odd number of edges in their row."""
    height, width = size
    first, second = points, np.roll(points, -1, axis=0)
    downwards = (first[:, 1] <= second[:, 1])[:, None]
    (x0, y0), (x1, y1) = np.where(downwards, first, second).T, np.where(downwards, second, first).T
    start, stop = (np.clip(np.ceil(y), 0, height).astype(int) for y in (y0, y1))
    edges = np.repeat(np.arange(len(points)), stop - start)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(stop - start) - stop, stop - start)
    crossings = x0[edges] + (rows - y0[edges]) * (x1 - x0)[edges] / (y1 - y0)[edges]
    columns = np.clip(np.ceil(crossings), 0, width).astype(int)
    counts = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1)).reshape(height, width + 1)
    inside: Mask = np.cumsum(counts, axis=1)[:, :width] % 2 == 1
    return inside


def _outline(region: Mask, start: tuple[int, int], tolerance: float) -> Polygon:
    from skimage.measure import find_contours

    rings = find_contours(np.pad(region, 1).astype(np.float64), 0.5, fully_connected="high")
    outer, *holes = sorted(rings, key=lambda ring: -_area(ring))
    return Polygon(_points(outer, tolerance, start), tuple(_points(hole, tolerance, start) for hole in holes))


def _points(ring: Points, tolerance: float, start: tuple[int, int]) -> tuple[Point, ...]:
    """Return the points of a contour in the scan, without those that its tolerance or a straight line makes needless."""
    from skimage.measure import approximate_polygon  # imports scipy.signal and scipy.stats: a second that prediction doesn't need

    rough = approximate_polygon(ring, tolerance) if tolerance > 0 else ring
    ring = rough if len(rough) > LEAST + 1 else ring
    ring = ring[:-1]  # find_contours repeats the first point
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    bends = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return tuple((float(row) + start[0] - 1, float(column) + start[1] - 1) for row, column in ring[bends])


def _area(ring: Points) -> float:
    rows, columns = ring[:, 0], ring[:, 1]
    return abs(float(rows @ np.roll(columns, 1) - columns @ np.roll(rows, 1))) / 2


def _bridged(ring: Points, hole: Points) -> Points:
    """Return a ring that leaves at the point nearest to a hole, goes around the hole, and comes back the same way."""
    distances = ((ring[:, None] - hole[None]) ** 2).sum(axis=2)
    leave, enter = np.unravel_index(int(distances.argmin()), distances.shape)
    around = np.roll(hole, -int(enter), axis=0)
    return np.concatenate((ring[: leave + 1], around, around[:1], ring[leave:]))
