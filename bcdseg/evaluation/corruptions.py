"""Corruptions of scans, as pure functions.

Each function takes pixels, a mask (or None), a strength and a random generator, and returns new pixels and the matching mask.
The same state of the generator gives the same result; a higher strength gives the same corruption with a larger effect.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from bcdseg.data.images import to_uint8
from bcdseg.types import Mask, Pixels

Gray = NDArray[np.uint8]
Degraded = tuple[Pixels, Mask | None]
WORDS = ("LT BREAST", "10:30 RADIAL", "L12-5 38mm", "MI 1.1 TIS 0.3", "FR 32Hz", "Gn 62 DR 65", "D1 14.2mm", "D2 9.7mm")


@dataclass(frozen=True)
class Degradation:
    """One kind of corruption.

    Attributes:
        name: Name that selects it.
        strength: Meaning of the numbers in ``strengths``.
        strengths: Strengths from mild to strong.
        apply: Function of pixels, mask, strength and generator.
        why: Situation in which real scans are corrupted in this way.
    """

    name: str
    strength: str
    strengths: tuple[float, ...]
    apply: Callable[[Gray, Mask | None, float, Generator], Degraded]
    why: str

    @property
    def title(self) -> str:
        """The name as a heading."""
        return self.name.upper() if self.name == "jpeg" else self.name.capitalize()


def corrupt(pixels: Pixels, mask: Mask | None, name: str, strength: float, *, seed: tuple[int, ...] = (0,)) -> Degraded:
    """Return a corrupted copy of one scan and its mask.

    Args:
        pixels: Array of height x width, or with three channels.
        mask: Mask of the scan, which is cropped or padded with the pixels; None when it is unknown.
        name: One of ``CORRUPTIONS``.
        strength: Strength in the unit that the corruption documents.
        seed: Seed of all random draws.
    """
    return CORRUPTIONS[name].apply(to_uint8(pixels), mask, strength, np.random.default_rng(seed))


def _noise(pixels: Gray, mask: Mask | None, share: float, rng: Generator) -> Degraded:
    drawn = rng.normal(0, 255, pixels.shape[:2])
    return _clipped(pixels + share * (drawn[..., None] if pixels.ndim == 3 else drawn)), mask


def _gain(pixels: Gray, mask: Mask | None, factor: float, _: Generator) -> Degraded:
    return _clipped(pixels * factor), mask


def _blur(pixels: Gray, mask: Mask | None, share: float, _: Generator) -> Degraded:
    sigma = share * min(pixels.shape[:2])
    return _clipped(gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0)[: pixels.ndim])), mask


def _jpeg(pixels: Gray, mask: Mask | None, quality: float, _: Generator) -> Degraded:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(quality))
    with Image.open(file) as image:
        return np.array(image), mask


def _crop(pixels: Gray, mask: Mask | None, share: float, rng: Generator) -> Degraded:
    """Crop a random window, which is moved to contain the lesion where possible."""
    drawn, window = rng.uniform(size=2), []
    for axis, side in enumerate(pixels.shape[:2]):
        length = max(16, round(side * share))
        start = round(drawn[axis] * (side - length))
        if mask is not None and mask.any():
            inside = np.flatnonzero(mask.any(axis=1 - axis)).tolist()
            start = min(max(start, inside[-1] + 1 - length), inside[0])
        start = min(max(start, 0), side - length)
        window.append(slice(start, start + length))
    cut = window[0], window[1]
    return np.ascontiguousarray(pixels[cut]), None if mask is None else np.ascontiguousarray(mask[cut])


def _resolution(pixels: Gray, mask: Mask | None, share: float, _: Generator) -> Degraded:
    image = Image.fromarray(pixels)
    small = image.resize([max(4, round(side * share)) for side in image.size], Image.Resampling.BOX)
    return np.array(small.resize(image.size, Image.Resampling.BILINEAR)), mask


def _calipers(pixels: Gray, mask: Mask | None, pairs: float, rng: Generator) -> Degraded:
    """Draw pairs of crosses joined by dotted lines: at the ends of the lesion, or at random positions in a scan without one."""
    image = Image.fromarray(pixels)
    draw, unit = ImageDraw.Draw(image), max(1, round(min(pixels.shape[:2]) / 128))
    for angle in np.linspace(0, np.pi, int(pairs), endpoint=False) + rng.uniform(0, np.pi / 6):
        ends = _ends(mask, pixels.shape[:2], angle, rng)
        for row, column in ends:
            for down, across in ((4 * unit, 0), (0, 4 * unit)):
                draw.line((column - across, row - down, column + across, row + down), fill=_white(pixels), width=unit)
        for step in np.linspace(0, 1, 16)[1:-1]:
            row, column = np.rint(ends[0] + step * (ends[1] - ends[0])).astype(int).tolist()
            draw.rectangle((column, row, column + unit - 1, row + unit - 1), fill=_white(pixels))
    return np.array(image), mask


def _ends(mask: Mask | None, size: tuple[int, ...], angle: float, rng: Generator) -> NDArray[np.float64]:
    """Return the row and column of the two ends of a caliper line."""
    along = np.array([np.sin(angle), np.cos(angle)])
    middle = rng.uniform(0.3, 0.7, 2) * size  # always drawn, because later draws must not depend on the mask
    reach = rng.uniform(0.05, 0.2) * min(size)
    if mask is None or not mask.any():
        return np.array([middle - reach * along, middle + reach * along])
    places = np.argwhere(mask)
    rank = places @ along
    return np.array([places[rank.argmin()], places[rank.argmax()]], np.float64)


def _text(pixels: Gray, mask: Mask | None, lines: float, rng: Generator) -> Degraded:
    image = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    size = max(8, height // 22)
    font, draw = ImageFont.load_default(size), ImageDraw.Draw(image)
    for line, word in enumerate(rng.permutation(WORDS)[: int(lines)]):
        down = (line // 2) * 1.3 * size
        left, top = (0.02 * width, 0.02 * height + down) if line % 2 == 0 else (0.6 * width, 0.98 * height - down - 1.2 * size)
        draw.text((left, top), str(word), fill=_white(pixels), font=font)
    return np.array(image), mask


def _screenshot(pixels: Gray, mask: Mask | None, share: float, rng: Generator) -> Degraded:
    """Pad the scan with a black screen, with text at its left and below it."""
    edges = [(max(1, round(share * side)),) * 2 for side in pixels.shape[:2]]
    framed = np.pad(pixels, (*edges, (0, 0))[: pixels.ndim])
    image, (top, left) = Image.fromarray(framed), (edge for edge, _ in edges)
    size = max(8, pixels.shape[0] // 22)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for line, word in enumerate(rng.permutation(WORDS)):
        down = line * 2 * size
        places = ((size // 2, down), (left + down * 3, top + pixels.shape[0] + size // 2))
        draw.text(places[line % 2], str(word)[: 8 if line % 2 == 0 else None], fill=_white(pixels), font=font)
    framed = np.array(image)
    framed[top:-top, left:-left] = pixels  # text must not cover the scan
    return framed, None if mask is None else np.pad(mask, edges)


def _white(pixels: Gray) -> int | tuple[int, int, int]:
    return 255 if pixels.ndim == 2 else (255, 255, 255)


def _clipped(values: NDArray[np.floating]) -> Gray:
    clipped: Gray = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return clipped


CORRUPTIONS = {
    one.name: one
    for one in (
        Degradation("noise", "standard deviation, fraction of white", (0.04, 0.08, 0.16), _noise, "low signal, deep tissue"),
        Degradation("gain", "factor on the brightness", (0.5, 0.75, 1.33, 2.0), _gain, "another gain setting"),
        Degradation("blur", "width, fraction of the scan's side", (0.004, 0.008, 0.016), _blur, "out of focus, smoothed"),
        Degradation("jpeg", "quality", (50, 20, 8), _jpeg, "exported or sent with loss"),
        Degradation("crop", "fraction of each side that is kept", (0.9, 0.8, 0.7), _crop, "other framing; the lesion stays inside"),
        Degradation("resolution", "fraction of the width in pixels", (0.5, 0.25, 0.125), _resolution, "a screenshot, a thumbnail"),
        Degradation(
            "screenshot", "black border, fraction of the side", (0.05, 0.15, 0.3), _screenshot, "the machine's screen is saved"
        ),
        Degradation("calipers", "pairs of crosses painted", (1, 2, 4), _calipers, "measured before it was stored"),
        Degradation("text", "lines of text painted", (2, 4, 8), _text, "annotations burned in"),
    )
}
