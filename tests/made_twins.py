"""Made scans that resemble no other, and changes that turn a scan into a near-duplicate."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from bcdseg.types import Sample

Gray = NDArray[np.uint8]
Random = np.random.Generator
Twin = Callable[[Gray, Random], Gray]


def scan(seed: int, height: int = 256, width: int = 256) -> Gray:
    """Draw speckle over layers of tissue, with one dark lesion and its shadow."""
    return scan_and_lesion(seed, height, width)[0]


def scan_and_lesion(seed: int, height: int = 256, width: int = 256) -> tuple[Gray, NDArray[np.bool_]]:
    """Return a made scan and the outline of its lesion."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    wave = gaussian_filter(random.normal(size=width), width / 12, mode="wrap") * width / 40
    depth = row + 0.1 * wave[None]
    edges = np.sort(random.uniform(0.1, 0.9, 4))
    tissue = random.uniform(0.25, 0.9, 5)[np.searchsorted(edges, depth)]
    centre, radii = random.uniform(0.35, 0.65, 2), random.uniform(0.08, 0.2, 2)
    lesion = ((row - centre[0]) / radii[0]) ** 2 + ((column - centre[1]) / radii[1]) ** 2 < 1
    tissue[lesion] = 0.12
    tissue *= 1 + 0.5 * gaussian_filter(random.normal(size=row.shape), 6) * 12
    speckle = np.hypot(*(gaussian_filter(random.normal(size=row.shape), (0.9, 1.6)) for _ in range(2)))
    picture = gaussian_filter(np.clip(tissue, 0.03, 2), 1) * speckle / speckle.mean()
    return np.clip(np.log1p(12 * picture) * 95 * (1 - 0.4 * row), 0, 255).astype(np.uint8), lesion


def text_over(gray: Gray, *lines: str) -> Gray:
    """Draw the text of a scanner around a picture."""
    image = Image.fromarray(gray)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((4, 4 + 14 * number), line, fill=255)
    return np.array(image)


def _resized(gray: Gray, random: Random) -> Gray:
    height, width = gray.shape
    down, across = random.uniform(0.55, 1.6) * np.exp(random.uniform(-0.12, 0.12, 2))
    return _resize(gray, round(height * down), round(width * across))


def _cropped(gray: Gray, random: Random) -> Gray:
    height, width = gray.shape
    top, bottom, left, right = random.uniform(0, 0.2, 4)
    return gray[round(height * top) : round(height * (1 - bottom)), round(width * left) : round(width * (1 - right))].copy()


def _cropped_and_stretched(gray: Gray, random: Random) -> Gray:
    return _resize(_cropped(gray, random), 256, 256)


def _mirrored(gray: Gray, random: Random) -> Gray:  # noqa: ARG001 - every kind has the same two arguments
    return gray[:, ::-1].copy()


def _other_gain(gray: Gray, random: Random) -> Gray:
    values = (gray / 255.0) ** np.exp(random.uniform(-0.5, 0.5))
    values = (values - 0.5) * random.uniform(0.6, 1.4) + 0.5 + random.uniform(-0.15, 0.15)
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def _calipers(gray: Gray, random: Random) -> Gray:
    image = Image.fromarray(gray)
    draw, (height, width) = ImageDraw.Draw(image), gray.shape
    for _ in range(2):
        (y0, y1), (x0, x1) = random.uniform(0.2, 0.8, 2) * height, random.uniform(0.2, 0.8, 2) * width
        for step in np.linspace(0, 1, 24):
            draw.point((x0 + step * (x1 - x0), y0 + step * (y1 - y0)), fill=255)
        for x, y in ((x0, y0), (x1, y1)):
            draw.line((x - 5, y, x + 5, y), fill=255)
            draw.line((x, y - 5, x, y + 5), fill=255)
    return np.array(image)


def _text(gray: Gray, random: Random) -> Gray:
    lines = ["".join(random.choice(list("ABCDEFGHIKLMNOPRSTUVW 0123456789"), 22)) for _ in range(random.integers(2, 6))]
    return text_over(gray, *lines)


def _recompressed(gray: Gray, random: Random) -> Gray:
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=int(random.integers(25, 75)))
    return np.array(Image.open(file))


def _resize(gray: Gray, height: int, width: int) -> Gray:
    return np.array(Image.fromarray(gray).resize((width, height), Image.Resampling.BICUBIC))


KINDS: dict[str, Twin] = {
    "resized": _resized,
    "cropped": _cropped,
    "cropped and stretched": _cropped_and_stretched,
    "mirrored": _mirrored,
    "other gain": _other_gain,
    "calipers": _calipers,
    "text": _text,
    "recompressed": _recompressed,
}
"""Changes that turn a scan into a near-duplicate, by name."""


def twin(gray: Gray, kinds: tuple[str, ...], random: Random) -> Gray:
    """Return the scan after one kind of change or several, one after the other."""
    for kind in kinds:
        gray = KINDS[kind](gray, random)
    return gray


def write(folder: Path, pictures: dict[str, Gray], labels: dict[str, str] | None = None) -> list[Sample]:
    """Write pictures into a folder, and return their samples."""
    samples = []
    for name, picture in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        samples.append(Sample(id=name, image=path, label=(labels or {}).get(name)))
    return samples
