"""Overlays and figures of a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from bcdseg.data.images import to_gray, to_uint8
from bcdseg.extras import require
from bcdseg.messages import percent, short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.inference.lesions import Lesion
    from bcdseg.inference.prediction import Prediction
    from bcdseg.types import Mask

# Okabe and Ito's colours: distinguishable for colour-blind readers, and bright on a dark scan.
OUTLINE = (240, 228, 66)
LONG, SHORT = (86, 180, 233), (230, 159, 0)
CANDIDATE = (204, 121, 167)
DASH = 8  # length of a dash and a gap together, in widths of the outline


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


def draw_figure(prediction: Prediction) -> Figure:
    """Draw overlay, mask probability, heat map and class probabilities, as far as the prediction has them."""
    figure_module = require("matplotlib.figure", extra="plot", purpose="Plotting a prediction")
    shown = 1 + (prediction.mask_probability is not None) + (prediction.heatmap is not None) + bool(prediction.probabilities)
    figure: Figure = figure_module.Figure(figsize=(4.2 * shown, 4), layout="constrained")
    axes = iter(figure.subplots(1, shown, squeeze=False)[0])
    picture = next(axes)
    picture.imshow(prediction.overlay())
    picture.set_title(Path(prediction.source).name, parse_math=False)
    picture.set_axis_off()
    if prediction.mask_probability is not None:
        probability = next(axes)
        image = probability.imshow(prediction.mask_probability, vmin=0, vmax=1, cmap="cividis")
        probability.set_title("probability of lesion")
        probability.set_axis_off()
        figure.colorbar(image, ax=probability, shrink=0.8)
    if prediction.heatmap is not None:
        heatmap = next(axes)
        heatmap.imshow(prediction.heat_overlay())
        heatmap.set_title(f"Grad-CAM of '{prediction.explained}'", parse_math=False)
        heatmap.set_axis_off()
    if prediction.probabilities:
        bars = next(axes)
        positions = range(len(prediction.probabilities))
        drawn_bars = bars.barh(positions, list(prediction.probabilities.values()), color="#0072B2")
        bars.set_yticks(positions, list(map(short_name, prediction.probabilities)), parse_math=False)
        bars.bar_label(drawn_bars, fmt=percent, padding=3)
        bars.set_xlim(0, 1.15)
        bars.invert_yaxis()
        bars.set_title("class probability")
    if prediction.flags:
        figure.supxlabel("\n".join(flag.message for flag in prediction.flags), fontsize="small", parse_math=False)
    return figure


STRONGEST = 0.65  # largest opacity of the heat map over the scan
ANCHORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])  # matplotlib's inferno colour map


def draw_heat(prediction: Prediction) -> Image.Image:
    """Draw the scan in gray with the heat map in colour over it: dark violet is low, yellow is high."""
    assert prediction.heatmap is not None
    gray = np.repeat(to_uint8(to_gray(prediction.image))[..., None], 3, axis=2)
    heat = prediction.heatmap
    positions = np.linspace(0, 1, len(ANCHORS))
    colour = np.stack([np.interp(heat, positions, channel) for channel in ANCHORS.T], axis=-1)
    strength = STRONGEST * np.sqrt(heat)[..., None]
    return Image.fromarray((gray * (1 - strength) + colour * strength).astype(np.uint8))
