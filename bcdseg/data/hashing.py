"""Content hashes and fingerprints (perceptual hashes) of scans, computed once per file.

The bits of a fingerprint are the signs of the low-frequency coefficients of the scan's discrete cosine transform.
``benchmarks/fingerprints.py`` measures how few bits differ between copies, and how many between other scans. A copy that was
cropped or padded has other coefficients; the audit finds such copies with more computation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import lru_cache, wraps
from hashlib import blake2b, sha256
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from bcdseg.data.images import read_image, to_gray, to_uint8
from bcdseg.data.readers import read_sample_scan
from bcdseg.sources import open_regular
from bcdseg.types import Pixels, Sample

Result = TypeVar("Result")
MOST = 200_000  # files; the cached results should be small


def file_memo(work: Callable[[Path], Result]) -> Callable[[Path], Result]:
    """Cache the results of a function of a file in memory, until the file changes."""

    @lru_cache(maxsize=MOST)
    def remembered(path: Path, _changed: int, _size: int) -> Result:
        return work(path)

    @wraps(work)
    def result(path: Path) -> Result:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return work(path)  # raises an error with what to do
        return remembered(path, stat.st_mtime_ns, stat.st_size)

    return result


@file_memo
def content_hash(path: Path) -> str:
    """Return a hash of the decoded pixels and their shape (BLAKE2b, 128 bits, hexadecimal).

    A file that was renamed, or saved again without loss (PNG to BMP, other compression, gray as three equal channels), keeps its
    hash; one changed pixel changes it. Lossy copies (JPEG of a PNG) have another hash; the audit finds them.
    """
    pixels = read_image(path)
    if pixels.ndim == 3 and (pixels[..., :1] == pixels).all():
        pixels = pixels[..., 0]
    digest = blake2b(f"{pixels.dtype.name} {pixels.shape} ".encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def ground_truth_hash(sample: Sample) -> str:
    """Return a hash of the bytes of a sample's image and masks (BLAKE2b, 64 bits, hexadecimal), wherever its files are.

    It shows whether a file was replaced, at the cost of reading and not of decoding it.
    """
    whole = blake2b(digest_size=8)
    for source in (sample.image, *sample.masks):
        with suppress(OSError):  # reading the scan reports the error
            whole.update(file_hash(source).encode() if isinstance(source, Path) else repr(astuple(source)[1:]).encode())
    return whole.hexdigest()


@file_memo
def file_hash(path: Path) -> str:
    """Return a hash of the bytes of a file (SHA-256, hexadecimal).

    Raises:
        OSError: The file can't be read.
    """
    with open_regular(path, str(path)) as file:
        return sha256(file.read()).hexdigest()


SIDE, WAVES = 32, 16
BITS = WAVES * WAVES - 1  # the coefficient of frequency 0 is the mean
NEAR = 40  # bits in which copies may differ
Signs = NDArray[np.float32]


@file_memo
def fingerprint(path: Path) -> str:
    """Return the fingerprint of the scan in a file, or of its largest area if it has several, in hexadecimal."""
    scan = read_sample_scan(path)
    return fingerprint_of(scan.pixels[scan.areas[0].window])


def fingerprint_of(pixels: Pixels) -> str:
    """Return the fingerprint of a scan's pixels in hexadecimal."""
    small = Image.fromarray(to_uint8(to_gray(pixels))).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    waves = dctn(np.asarray(small, np.float64), norm="ortho")[:WAVES, :WAVES]
    return np.packbits(waves.ravel()[1:] > 0).tobytes().hex()


def bit_distances(one: Sequence[str], other: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of differing bits of each of the first (rows) and each of the second (columns) or its mirror image."""
    if not one or not other:
        return np.empty((len(one), len(other)), np.int64)
    first, second = _signs(one), _signs(other)
    equal = np.maximum(first @ second.T, (first * _mirror()) @ second.T)
    return np.asarray((BITS - equal) / 2, np.int64)


def differing_bits(one: Sequence[str], other: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of differing bits of each of the first and the nearest second or its mirror image; else ``BITS``."""
    nearest: NDArray[np.int64] = bit_distances(one, other).min(axis=1, initial=BITS)
    return nearest


def _signs(fingerprints: Sequence[str]) -> Signs:
    """Return one row of 1 and -1 per fingerprint."""
    packed = np.frombuffer(bytes.fromhex("".join(fingerprints)), np.uint8).reshape(-1, (BITS + 1) // 8)
    return np.unpackbits(packed, axis=1, count=BITS).astype(np.float32) * 2 - 1


def _mirror() -> Signs:
    """Return the factors that turn the signs of a scan into those of the scan with left and right swapped."""
    odd = np.arange(WAVES) % 2
    return np.where(np.tile(odd, WAVES)[1:], -1, 1).astype(np.float32)
