"""A TIFF file that is wrong on purpose."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

STRIP_OFFSETS, LONG, LONG8 = 273, 4, 16


def far_strips() -> bytes:
    """Return a BigTIFF whose pixels start at byte 2^63."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(buffer, "TIFF", big_tiff=True)
    whole = bytearray(buffer.getvalue())
    struct.pack_into("<HHQQ", whole, whole.index(struct.pack("<HHQ", STRIP_OFFSETS, LONG, 1)), STRIP_OFFSETS, LONG8, 1, 2**63)
    return bytes(whole)
