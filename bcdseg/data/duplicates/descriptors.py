"""Local descriptors of a scan: blobs of its texture and the patches around them.

A blob is an extremum of the difference of Gaussians, so it has a size and is detected again after rescaling and cropping. A patch
is described by the low frequencies of its cosine transform, without mean and gain; a mirrored patch has the same numbers with some
signs flipped, so mirrored copies need no second pass over the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct
from scipy.ndimage import gaussian_filter, uniform_filter

Floats = NDArray[np.float32]
Gray = NDArray[np.uint8]

SIDE = 176  # the working image has the area of a square with this side, and the scan's aspect ratio
BLOBS = 144
CELLS = 6  # blobs are spread over this many cells in each direction, so that text does not use them all
STRETCH = 1.3  # patches are also described as if the scan were this much wider
PATCH = 14
REACH = 7.0  # half the width of a patch, in sigmas of the blob
ORDER = 8  # highest order of the cosines, summed over both directions
FIRST_SIGMA, STEPS, OCTAVES = 1.6, 3, 3
BLACK, AROUND, MOSTLY = 6, 19, 0.45  # gray level, side of the neighbourhood, and the black fraction that is too much
FLAT = 4.0  # a local contrast below this many gray levels is noise in a black or white region


@dataclass(frozen=True)
class Description:
    """The descriptors of one scan.

    Attributes:
        points: Row and column of each blob, as fractions of the scan's height and width.
        textures: Descriptor of the patch around each blob, one unit vector per row.
        stretched: Descriptors of the same blobs, from patches that are wider than high.
        picture: The scan at its working size, at which scans are compared.
        size: Height and width of the original scan.
    """

    points: Floats
    textures: Floats
    stretched: Floats
    picture: Gray
    size: tuple[int, int]


def describe(gray: Gray) -> Description:
    """Compute the descriptors of one gray scan."""
    picture = work_picture(gray)
    even = even_out(picture)
    pyramid = _pyramid(even)
    blobs = _blobs(pyramid)
    row, column = blobs[:, 1:3].astype(int).T
    blobs = _strongest(blobs[tissue_in(picture)[row, column]], even.shape)
    textures, stretched = (_patch_textures(pyramid, blobs, stretch) for stretch in (1.0, STRETCH))
    kept = np.isfinite(textures).all(1) & np.isfinite(stretched).all(1)
    points = (blobs[kept, 1:3] + 0.5) / np.array(even.shape, np.float32)
    return Description(points.astype(np.float32), textures[kept], stretched[kept], picture, (gray.shape[0], gray.shape[1]))


def work_picture(gray: Gray) -> Gray:
    """Resize a scan to its working size, at which scans are compared."""
    height, width = gray.shape
    aspect = float(np.clip(width / height, 0.4, 2.5))
    size = round(SIDE * aspect**0.5), round(SIDE / aspect**0.5)
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))


def even_out(picture: Gray) -> Floats:
    """Normalise the local brightness and contrast, which removes gain, gamma and shadows and keeps the texture."""
    values = picture.astype(np.float32)
    texture = gaussian_filter(values, 0.6) - gaussian_filter(values, 6, truncate=3)
    contrast = np.sqrt(gaussian_filter(texture**2, 9, truncate=3))
    evened: Floats = np.clip(texture / (contrast + FLAT), -4, 4)
    return evened


def tissue_in(picture: Gray) -> NDArray[np.bool_]:
    """Return a mask of the pixels whose neighbourhood is not mostly black: a scanner's text on black is not tissue."""
    black = uniform_filter((picture <= BLACK).astype(np.float32), AROUND)
    found: NDArray[np.bool_] = black < MOSTLY
    return found


@lru_cache
def mirror_signs() -> Floats:
    """Return the factors that turn a descriptor into that of the mirrored patch."""
    return np.where(_cosines()[1] % 2, -1, 1).astype(np.float32)


@lru_cache
def _cosines() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    row, column = np.indices((PATCH, PATCH))
    chosen = (row + column <= ORDER) & (row + column > 0)
    return row[chosen], column[chosen]


def _pyramid(even: Floats) -> list[Floats]:
    """Compute a stack of increasingly blurred images for each octave, each octave at half the size of the previous one."""
    octaves, base = [], even
    sigmas = FIRST_SIGMA * 2 ** (np.arange(STEPS + 3) / STEPS)
    first = gaussian_filter(base, FIRST_SIGMA)
    for _ in range(OCTAVES):
        levels = [first]
        for before, after in pairwise(sigmas):
            levels.append(gaussian_filter(levels[-1], float((after**2 - before**2) ** 0.5), truncate=3))
        octaves.append(np.stack(levels))
        first = levels[STEPS][::2, ::2]
    return octaves


def _blobs(pyramid: list[Floats]) -> Floats:
    """Detect blobs, as rows of (strength, row, column, sigma, octave) in pixels of the working image."""
    found = []
    for octave, levels in enumerate(pyramid):
        change = np.diff(levels, axis=0)
        middle = change[1:-1, 2:-2, 2:-2]  # first and last level and the border have no blobs
        highest, lowest = (_of_neighbours(choose, change[:, 1:-1, 1:-1]) for choose in (np.maximum, np.minimum))
        peak = (middle == highest) & (middle > 0.02) | (middle == lowest) & (middle < -0.02)
        level, row, column = (place + first for place, first in zip(np.nonzero(peak), (1, 2, 2), strict=True))
        finer = [_parabola(change, (level, row, column), axis) for axis in range(3)]
        size = 2.0**octave
        sigma = FIRST_SIGMA * 2 ** ((level + finer[0] + 0.5) / STEPS) * size
        # Pixel k of an octave is at pixel k * size of the first one, because every second pixel is taken.
        strength = abs(change[level, row, column])
        found.append(np.stack([strength, (row + finer[1]) * size, (column + finer[2]) * size, sigma, np.full(len(row), octave)], 1))
    return np.concatenate(found).astype(np.float32)


def _of_neighbours(choose: np.ufunc, values: Floats) -> Floats:
    """Return the maximum or minimum of each element and its 26 neighbours, without the border."""
    for axis in range(3):
        along = np.moveaxis(values, axis, 0)
        values = np.moveaxis(choose(choose(along[:-2], along[1:-1]), along[2:]), 0, axis)
    return values


def _parabola(values: Floats, at: tuple[NDArray[np.intp], ...], axis: int) -> Floats:
    """Estimate the offset of an extremum from its pixel along one axis, from the pixel's two neighbours."""
    step = np.eye(3, dtype=int)[axis][:, None]
    before, here, after = (values[tuple(np.array(at) + sign * step)] for sign in (-1, 0, 1))
    bend = before - 2 * here + after
    shift: Floats = np.where(bend == 0, 0, 0.5 * (before - after) / np.where(bend == 0, 1, bend))
    return np.clip(shift, -0.5, 0.5)


def _strongest(blobs: Floats, shape: tuple[int, ...]) -> Floats:
    """Select the strongest blobs of each cell, without those so near to the edge that most of their patch is outside."""
    _, row, column, sigma, _ = blobs.T
    edge = np.minimum.reduce([row, column, shape[0] - 1 - row, shape[1] - 1 - column])
    blobs = blobs[edge > 0.5 * REACH * sigma]
    blobs = blobs[np.argsort(-blobs[:, 0] * np.sqrt(blobs[:, 3]), kind="stable")]
    cell = (blobs[:, 1] * CELLS // shape[0]) * CELLS + blobs[:, 2] * CELLS // shape[1]
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], cell[order])
    rank = np.empty(len(blobs), int)
    rank[order] = np.arange(len(blobs)) - starts
    return blobs[np.argsort(rank, kind="stable")[:BLOBS]]


def _patch_textures(pyramid: list[Floats], blobs: Floats, stretch: float) -> Floats:
    """Compute the descriptor of the patch around each blob, which is NaN for a patch without texture."""
    steps = (np.arange(PATCH) + 0.5) / PATCH * 2 - 1
    down, across = np.meshgrid(steps / stretch**0.5, steps * stretch**0.5, indexing="ij")
    patches = np.empty((len(blobs), PATCH, PATCH), np.float32)
    for octave, levels in enumerate(pyramid):
        of = np.flatnonzero(blobs[:, 4] == octave)
        if not len(of):
            continue
        _, row, column, sigma, _ = blobs[of].T / 2.0**octave
        level = np.clip(np.rint(STEPS * np.log2(sigma / FIRST_SIGMA)), 0, STEPS + 2)
        reach = REACH * sigma[:, None, None]
        rows, columns = row[:, None, None] + reach * down, column[:, None, None] + reach * across
        patches[of] = _interpolated(levels, level.astype(np.intp)[:, None, None], rows, columns)
    return _unit(patches)


def _interpolated(levels: Floats, level: NDArray[np.intp], rows: Floats, columns: Floats) -> Floats:
    """Return the values between four pixels of a level; outside of the image those at its edge."""
    _, height, width = levels.shape
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top, left = np.minimum(rows.astype(np.intp), height - 2), np.minimum(columns.astype(np.intp), width - 2)
    down, across = rows - top, columns - left
    values, first = levels.ravel(), (level * height + top) * width + left
    upper = values[first] * (1 - across) + values[first + 1] * across
    lower = values[first + width] * (1 - across) + values[first + width + 1] * across
    between: Floats = upper * (1 - down) + lower * down
    return between


def _unit(patches: Floats) -> Floats:
    # A product with a matrix of cosines would be one call, but the threads of BLAS wait for each other, which costs CPU time.
    waves = dct(dct(patches, axis=1, norm="ortho"), axis=2, norm="ortho")
    row, column = _cosines()
    # The amplitude of an image falls with the frequency: without this weight the few lowest frequencies would dominate.
    chosen = waves[:, row, column] * np.sqrt(row**2 + column**2).astype(np.float32)
    length = np.linalg.norm(chosen, axis=1, keepdims=True)
    textures: Floats = (chosen / np.where(length > 1e-3, length, np.nan)).astype(np.float32)
    return textures
