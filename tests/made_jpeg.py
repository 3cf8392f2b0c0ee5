"""A JPEG that is made to cost much."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def endless_jpeg() -> bytes:
    """Return a progressive JPEG of 25 million pixels in 5,000 passes: some 300 kilobytes that take a decoder minutes."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4800, 5200), np.uint8)).save(buffer, "JPEG", progressive=True, quality=5)
    whole = buffer.getvalue()
    last_pass = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last_pass * 5000 + b"\xff\xd9"
