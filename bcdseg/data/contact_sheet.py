"""A picture of several scans side by side, with the outlines of their masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from bcdseg.data.images import to_uint8
from bcdseg.types import Mask, Pixels, Sample

SIDE, MARGIN, LINE = 220, 8, 16
OUTLINE = (240, 228, 66)
LONGEST = 34  # characters of a line below a scan


def draw_samples(samples: Sequence[Sample], read: Callable[[Sample], tuple[Pixels, Mask | None]], columns: int) -> Image.Image:
    """Draw scans in rows, each with its outline, its id and its label.

    Args:
        samples: The samples, in order.
        read: Function that reads the pixels and the mask of a sample.
        columns: Number of scans in a row.
    """
    columns = max(1, min(columns, len(samples)))
    width, height = SIDE + MARGIN, SIDE + 2 * LINE + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, math.ceil(len(samples) / columns) * height + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, sample in enumerate(samples):
        left, top = MARGIN + number % columns * width, MARGIN + number // columns * height
        scan = _outlined(*read(sample))
        sheet.paste(scan, (left + (SIDE - scan.width) // 2, top + (SIDE - scan.height) // 2))
        for line, text in enumerate((sample.id[-LONGEST:], sample.label or "no label")):
            draw.text((left, top + SIDE + line * LINE), text, fill="black", font=font)
    return sheet


def _outlined(pixels: Pixels, mask: Mask | None) -> Image.Image:
    image = Image.fromarray(to_uint8(pixels)).convert("RGB")
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.BILINEAR)
    if mask is None:
        return image
    inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    colours = np.array(image)
    colours[inside & ~binary_erosion(inside, iterations=2)] = OUTLINE
    return Image.fromarray(colours)
