"""Hashes and fingerprints of scans, computed once per file.

The bits are the signs of the slow waves (of the cosine transform) that the scan is made of. ``benchmarks/fingerprints.py`` measures
in how few of them copies differ, and in how many other scans. A copy that was cut, or laid on a larger ground, has other waves; the
audit finds those, with more work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from bcdseg.data.images import read_image, to_gray, to_uint8
from bcdseg.data.readers import read_scan
from bcdseg.types import Pixels

Found = TypeVar("Found")
MOST = 200_000  # files; what is found in them should be small


def once_per_file(work: Callable[[Path], Found]) -> Callable[[Path], Found]:
    """Keep in memory what a function finds in a file."""

    @lru_cache(maxsize=MOST)
    def kept(path: Path, _changed: int, _size: int) -> Found:
        return work(path)

    @wraps(work)
    def found(path: Path) -> Found:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return work(path)  # its error says what to do
        return kept(path, stat.st_mtime_ns, stat.st_size)

    return found


@once_per_file
def content_hash(path: Path) -> str:
    """Hash of the decoded pixels and their shape (BLAKE2b, 128 bits, hexadecimal).

    A file that was renamed, or saved again without loss (PNG to BMP, other compression, gray as three equal channels),
    keeps its hash; one changed pixel changes it. Lossy copies (JPEG of a PNG) get another: finding those is the audit's work.
    """
    pixels = read_image(path)
    if pixels.ndim == 3 and (pixels[..., :1] == pixels).all():
        pixels = pixels[..., 0]
    digest = blake2b(f"{pixels.dtype.name} {pixels.shape} ".encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()


SIDE, WAVES = 32, 16
BITS = WAVES * WAVES - 1  # the slowest wave is the mean
NEAR = 40  # bits in which copies may differ
Signs = NDArray[np.float32]


@once_per_file
def fingerprint(path: Path) -> str:
    """Of the scan in a file, of its largest area where it has several; hexadecimal."""
    scan = read_scan(path)
    return fingerprint_of(scan.pixels[scan.areas[0].window])


def fingerprint_of(pixels: Pixels) -> str:
    """Of a scan's pixels, hexadecimal."""
    small = Image.fromarray(to_uint8(to_gray(pixels))).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    waves = dctn(np.asarray(small, np.float64), norm="ortho")[:WAVES, :WAVES]
    return np.packbits(waves.ravel()[1:] > 0).tobytes().hex()


def differing_bits(one: Sequence[str], other: Sequence[str]) -> NDArray[np.int64]:
    """In how many bits each of the first differs from the nearest of the second or its mirror image; ``BITS`` if there is none."""
    if not other:
        return np.full(len(one), BITS)
    first, second = _signs(one), _signs(other)
    alike = np.maximum((first @ second.T).max(axis=1, initial=-BITS), ((first * _mirror()) @ second.T).max(axis=1, initial=-BITS))
    return np.asarray((BITS - alike) / 2, np.int64)


def _signs(fingerprints: Sequence[str]) -> Signs:
    """A row of 1 and -1 for each."""
    packed = np.frombuffer(bytes.fromhex("".join(fingerprints)), np.uint8).reshape(-1, (BITS + 1) // 8)
    return np.unpackbits(packed, axis=1, count=BITS).astype(np.float32) * 2 - 1


def _mirror() -> Signs:
    """Multiplied with the signs, these make those of the scan with left and right changed."""
    odd = np.arange(WAVES) % 2
    return np.where(np.tile(odd, WAVES)[1:], -1, 1).astype(np.float32)
