"""The picture of an answer: the scan with its lesions outlined and their axes drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from bcdseg.data.images import to_uint8

if TYPE_CHECKING:
    from bcdseg.infer.lesions import Lesion
    from bcdseg.infer.prediction import Prediction
    from bcdseg.types import Mask

# Okabe and Ito's colours: told apart by the colour-blind, and bright on a dark scan.
OUTLINE = (240, 228, 66)
LONG, SHORT = (86, 180, 233), (230, 159, 0)
CANDIDATE = (204, 121, 167)
DASH = 8  # widths of an outline that a dash and a gap take together


def draw_overlay(prediction: Prediction) -> Image.Image:
    """Draw the scan with outlines in yellow, long axes in blue, short axes in orange; candidates are dashed, in purple."""
    pixels = to_uint8(prediction.image)
    picture = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels.copy()
    width = max(1, round(min(prediction.size) / 200))
    if prediction.mask is not None and prediction.mask.any():
        _paint_outline(picture, prediction.mask, prediction.lesions, width)
    if prediction.candidate_mask is not None:
        _paint_outline(picture, prediction.candidate_mask, prediction.candidates, width, dashed=True)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for lesion in prediction.lesions:
        for ends, colour in ((lesion.short_axis_ends, SHORT), (lesion.long_axis_ends, LONG)):
            draw.line([(column, row) for row, column in ends], fill=colour, width=width)
    return image


def _paint_outline(
    picture: NDArray[np.uint8], mask: Mask, lesions: tuple[Lesion, ...], width: int, *, dashed: bool = False
) -> None:
    """Paint each lesion's edge, half inside and half outside; only the lesions' boxes are processed."""
    for lesion in lesions:
        top, left, bottom, right = lesion.box
        window = (slice(max(0, top - width), bottom + width), slice(max(0, left - width), right + width))
        inside = np.asarray(mask[window])
        outer = binary_dilation(inside, iterations=(width + 1) // 2)
        inner = binary_erosion(inside, iterations=max(1, width // 2), border_value=1)
        edge = outer & ~inner
        if dashed:
            rows, columns = np.indices(edge.shape)
            edge &= (rows + columns) % (DASH * width) < DASH * width // 2
        picture[window][edge] = CANDIDATE if dashed else OUTLINE
