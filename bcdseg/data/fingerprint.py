"""What a scan looks like from afar, in 255 bits: nearly the same bits however it was scaled, mirrored or saved.

The bits are the signs of the slow waves (of the cosine transform) that the scan is made of. ``benchmarks/fingerprints.py`` measures
in how few of them copies differ, and in how many other scans. A copy that was cut, or laid on a larger ground, has other waves; the
audit finds those, with more work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from bcdseg.data.images import to_gray, to_uint8
from bcdseg.data.once_per_file import once_per_file
from bcdseg.data.scans import read_scan
from bcdseg.types import Pixels

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
