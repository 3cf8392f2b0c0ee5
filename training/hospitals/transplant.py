"""Move lesions from one scan into another, so that neither the hospital nor a seam reveals whether there is a lesion.

Normal scans come from few hospitals, and a network can learn the hospital instead of the lesion. Here a normal scan gets the lesion
of any hospital (as in TumorCP, Yang et al., MICCAI 2021), and other scans get a patch of normal tissue in the same way, so that
normal scans have seams too.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

HALO = 0.4  # of the longer side of a lesion: width of its surroundings, which are moved with it and fade out
LEAST_HALO = 6.0  # pixels
LESIONS = 0.6  # fraction of the chosen normal scans that get a lesion; the others get normal tissue
Random = np.random.Generator


class Scan(NamedTuple):
    """A packed scan: 8-bit image, mask, and top, left, bottom and right of the scan in its square."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: NDArray[np.int64]


def with_lesion(normal: Scan, donor: Scan, rng: Random) -> Scan | None:
    """Return a normal scan with the lesion of a donor; None where it doesn't fit."""
    found = _patch(donor.image, donor.mask, donor.box, rng)
    return None if found is None else _pasted(normal, *found, rng, lesion=True)


def with_tissue(scan: Scan, normal: Scan, shape: NDArray[np.bool_], rng: Random) -> Scan | None:
    """Return a scan with normal tissue from another, cut along a shape; None where it would cover the lesion."""
    found = _patch(normal.image, shape, normal.box, rng)
    return None if found is None else _pasted(scan, *found, rng, lesion=False)


def _patch(
    image: NDArray[np.uint8], shape: NDArray[np.bool_], box: NDArray[np.int64], rng: Random
) -> tuple[NDArray[np.float32], NDArray[np.bool_], float, float] | None:
    """Cut out a shape with its surroundings: pixels, shape, width of the halo and relative depth; None outside the scan."""
    top, left, bottom, right = (int(edge) for edge in box)
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    if not len(rows):
        return None
    halo = max(LEAST_HALO, HALO * max(len(rows), len(columns)))
    first, last = max(top, int(rows[0] - halo)), min(bottom, int(rows[-1] + halo) + 1)
    before, after = max(left, int(columns[0] - halo)), min(right, int(columns[-1] + halo) + 1)
    if rows[0] < top or rows[-1] >= bottom or columns[0] < left or columns[-1] >= right:
        return None
    scale = float(np.exp(rng.uniform(-0.4, 0.3)))
    size = (max(8, round((after - before) * scale)), max(8, round((last - first) * scale)))
    pixels = cv2.resize(
        image[first:last, before:after].astype(np.float32), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    cut = cv2.resize(shape[first:last, before:after].astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5
    if rng.random() < 0.5:
        pixels, cut = pixels[:, ::-1], cut[:, ::-1]
    depth = ((rows[0] + rows[-1]) / 2 - top) / (bottom - top)
    return pixels, cut, halo * scale, float(depth)


def _pasted(
    scan: Scan, pixels: NDArray[np.float32], shape: NDArray[np.bool_], halo: float, depth: float, rng: Random, *, lesion: bool
) -> Scan | None:
    """Blend pixels into a scan at about the same depth, with the brightness of their new surroundings."""
    height, width = shape.shape
    top, left, bottom, right = (int(edge) for edge in scan.box)
    if height > bottom - top or width > right - left or not shape.any():
        return None
    middle = top + (depth + rng.uniform(-0.15, 0.15)) * (bottom - top)
    row = int(np.clip(middle - height / 2, top, bottom - height))
    column = int(rng.integers(left, right - width + 1))
    window = np.s_[row : row + height, column : column + width]
    distance = cv2.distanceTransform((~shape).astype(np.uint8), cv2.DIST_L2, 3)
    opacity = np.clip(1 - distance / halo, 0, 1)
    opacity = opacity * opacity * (3 - 2 * opacity)
    if (scan.mask[window] & (opacity > 0)).any():
        return None
    below, ring = scan.image[window].astype(np.float32), (opacity > 0) & (opacity < 1)
    gain = 1.0 if not ring.any() else float(np.clip((below[ring].mean() + 1) / (pixels[ring].mean() + 1), 0.4, 2.5))
    image, mask = scan.image.copy(), scan.mask
    image[window] = np.clip(opacity * pixels * gain + (1 - opacity) * below, 0, 255).round().astype(np.uint8)
    if lesion:
        mask = mask.copy()
        mask[window] |= shape
    return Scan(image, mask, scan.box)
