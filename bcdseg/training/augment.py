"""Augmentation of scans and masks with albumentations.

Synthetic annotations (calipers, text, body markers) are drawn anywhere, on a lesion or far from it, so that the network learns
that an annotation carries no information about the tissue under it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import OptionError
from bcdseg.extras import require

CROSSES = (cv2.MARKER_CROSS, cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS, cv2.MARKER_STAR, cv2.MARKER_DIAMOND)
SIDES, PLACES = ("RT", "LT", "rt", "lt", "R", "L"), ("", "2", "6", " UOQ", " LIQ", " AXILLA", " BREAST", " 3 o'clock")
USUAL = 256
"""Height of a scan in pixels at which annotations have their nominal size; they scale with the height."""

Scan = NDArray[Any]
Random = np.random.Generator


def paint_marks(image: Scan, rng: Random) -> Scan:
    """Return a copy of an 8-bit scan with one or more kinds of burned-in annotations drawn on it."""
    image = np.ascontiguousarray(image).copy()
    kinds = rng.random(3) < (0.8, 0.4, 0.3)
    if kinds[0] or not kinds.any():
        for _ in range(int(rng.integers(1, 3))):
            _measure(image, rng)
    if kinds[1]:
        _write(image, rng)
    if kinds[2]:
        _place_body_marker(image, rng)
    return image


def _measure(image: Scan, rng: Random) -> None:
    """Draw one or two pairs of calipers, the second across the first, as a lesion is measured."""
    size, centre = np.array(image.shape[1::-1]), rng.uniform(0.08, 0.92, 2)
    pen, angle, length = _pen(rng), rng.uniform(0, np.pi), rng.uniform(0.06, 0.45)
    cross, arms = int(rng.choice(CROSSES)), _pixels(image, rng.uniform(6, 15))
    thick = int(rng.integers(1, 3)) if arms > 10 else 1
    dotted, numbered = rng.random(2) < 0.6
    for number in range(int(rng.integers(1, 3))):
        turned = angle + number * np.pi / 2 + rng.normal(0, 0.15)
        half = length * np.array([np.cos(turned), np.sin(turned)]) / 2 * rng.uniform(0.6, 1)
        ends = [(centre + side * half + rng.normal(0, 0.01, 2)) * size for side in (-1, 1)]
        if dotted:
            _dot(image, *ends, tone=int(pen[0] * rng.uniform(0.6, 1)), gap=float(_pixels(image, rng.uniform(2.5, 5))))
        for x, y in ends:
            cv2.drawMarker(image, (int(x), int(y)), pen, cross, arms, thick)
        if numbered:
            _text(image, str(number + 1), ends[0] + arms * rng.uniform(-1, 1, 2), pen)


def _dot(image: Scan, start: Scan, end: Scan, *, tone: int, gap: float) -> None:
    at = np.linspace(start, end, max(2, int(np.hypot(*(end - start)) / gap))).astype(int)
    x, y = at[((at >= 0) & (at < image.shape[1::-1])).all(axis=1)].T
    image[y, x] = tone


def _write(image: Scan, rng: Random) -> None:
    """Draw a text: a side and a location, or a measured length."""
    words = rng.choice(SIDES) + rng.choice(PLACES) if rng.random() < 0.6 else f"{rng.integers(1, 4)} L {rng.uniform(0.3, 4):.2f} cm"
    _text(image, str(words), rng.uniform((0, 0.05), (0.8, 0.98)) * image.shape[1::-1], _pen(rng), rng.uniform(0.3, 0.55))


def _place_body_marker(image: Scan, rng: Random) -> None:
    """Draw a body marker, a small breast with the probe on it, usually near the left or right edge."""
    height, width = image.shape[:2]
    across = rng.choice([rng.uniform(0.08, 0.25), rng.uniform(0.75, 0.92)])
    x, y, radius = int(across * width), int(rng.uniform(0.1, 0.92) * height), _pixels(image, rng.uniform(9, 20))
    pen, thick = _pen(rng), int(rng.integers(1, 3))
    if rng.random() < 0.5:
        cv2.circle(image, (x, y), radius, pen, thick)
    else:
        cv2.ellipse(image, (x, y), (radius, 2 * radius // 3), 0, 0, 180, pen, thick)
        cv2.line(image, (x - radius, y), (x + radius, y - radius // 2), pen, thick)
    cv2.circle(image, (x, y), max(1, radius // 6), pen, -1)
    probe, angle = np.array([x, y]) + rng.uniform(-radius, radius, 2), rng.uniform(0, np.pi)
    reach = radius / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = ((probe + side * reach).astype(int).tolist() for side in (-1, 1))
    cv2.line(image, start, end, pen, thick + 1)


def _text(image: Scan, text: str, at: Scan, pen: tuple[int, ...], size: float = 0.35) -> None:
    scale = size * max(image.shape[0] / USUAL, 0.5)
    cv2.putText(image, text, (int(at[0]), int(at[1])), cv2.FONT_HERSHEY_SIMPLEX, scale, pen, 1, cv2.LINE_AA)


def _pen(rng: Random) -> tuple[int, int, int]:
    return (int(rng.integers(160, 256)),) * 3


def _pixels(image: Scan, usual: float) -> int:
    return max(2, round(float(usual * image.shape[0] / USUAL)))


require("albumentations", extra="train", purpose="Augmentation")

import albumentations as A  # noqa: E402 - only after the check that it is installed
import cv2  # noqa: E402

Pipeline = A.Compose
"""Type of the albumentations pipelines that a caller may pass."""


def build(strength: str, size: tuple[int, int] | None = None, seed: int | None = None) -> A.Compose:
    """Build a pipeline over ``image`` (uint8, height x width x channels) and ``mask``; geometric transforms apply to both.

    Args:
        strength: ``"default"``, ``"light"`` (flips and small affine and brightness changes), ``"none"``, or a classical set that
            older systems were trained with: ``"flip-rotate-zoom"``, ``"shift-shear-zoom-flip"``.
        size: Height and width of the output; None keeps those of the input.
        seed: Seed that makes the transforms reproducible.
    """
    if strength not in STRENGTHS:
        raise OptionError(f"augment={strength!r} is unknown: choose one of {', '.join(STRENGTHS)}.")
    return A.Compose([*STRENGTHS[strength](), *([] if size is None else [A.Resize(*size)])], seed=seed)


def one_thread() -> None:
    """Limit OpenCV to one thread in this process, because on scans of this size more threads cost more than they gain."""
    cv2.setNumThreads(1)


def _light() -> list[Any]:
    return [A.HorizontalFlip(p=0.5), _affine(0.1, 8), A.RandomBrightnessContrast(0.15, 0.15, p=0.5)]


def _default() -> list[Any]:
    return [
        A.HorizontalFlip(p=0.5),
        ByHand(paint_marks, p=0.35),
        _affine(0.25, 15),
        A.OneOf([Elastic(alpha=4, sigma=20), A.GridDistortion(num_steps=4, distort_limit=0.2)], p=0.25),
        A.CropAndPad(percent=(0, 0.2), keep_size=True, p=0.1),
        A.OneOf([A.RandomBrightnessContrast(0.15, 0.3), A.RandomGamma((60, 160)), A.CLAHE(clip_limit=2)], p=0.7),
        ByHand(_gain_drift, p=0.3),
        ByHand(_shadow, p=0.2),
        ByHand(_speckle, p=0.3),
        A.OneOf([A.GaussianBlur(sigma_limit=(0.3, 1.5)), A.Downscale(scale_range=(0.4, 0.8)), _sharpen()], p=0.3),
        A.OneOf([A.GaussNoise(std_range=(0.01, 0.05)), A.ImageCompression(quality_range=(30, 90))], p=0.3),
        A.CoarseDropout(num_holes_range=(1, 4), hole_height_range=(0.05, 0.15), hole_width_range=(0.05, 0.15), p=0.1),
    ]


def _flip_rotate_zoom() -> list[Any]:
    return [A.HorizontalFlip(p=0.5), A.Affine(rotate=(-18, 18), scale=(0.9, 1.1), interpolation=cv2.INTER_LINEAR, p=1)]


def _shift_shear_zoom_flip() -> list[Any]:
    move = A.Affine(translate_percent=(-0.2, 0.2), shear=(-12, 12), scale=(0.8, 1.2), interpolation=cv2.INTER_LINEAR, p=1)
    return [A.HorizontalFlip(p=0.5), move]


def _sharpen() -> A.Sharpen:
    return A.Sharpen(alpha=(0.1, 0.3), lightness=(1, 1))  # this keeps the mean brightness


def _affine(zoom: float, degrees: int) -> A.Affine:
    return A.Affine(
        scale={"x": (1 - zoom, 1 + zoom), "y": (1 - zoom, 1 + zoom)},
        translate_percent=0.1,
        rotate=(-degrees, degrees),
        shear=(-6, 6),
        interpolation=cv2.INTER_LINEAR,
        p=0.8,
    )


class ByHand(A.ImageOnlyTransform):  # type: ignore[misc]
    """Pipeline step that applies a function of an image and a random generator."""

    def __init__(self, function: Callable[[NDArray[Any], np.random.Generator], NDArray[Any]], p: float) -> None:
        super().__init__(p=p)
        self.function = function

    def apply(self, img: NDArray[Any], **_: Any) -> NDArray[Any]:
        """Apply the function to an image; albumentations calls this method."""
        return self.function(img, self.random_generator)


class Elastic(A.ElasticTransform):  # type: ignore[misc]
    """Elastic deformation by smooth random displacements of ``alpha`` pixels (standard deviation) and ``sigma`` pixels smoothness.

    Both are given for a scan of 256 pixels height and scale with the height. The displacements are drawn on a coarse grid and
    interpolated, which takes a fraction of the time of albumentations' own transform without a visible difference.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return the displacement maps; albumentations calls this method."""
        height, width = params["shape"][:2]
        cell = max(1.0, self.sigma * height / 256 / 2)  # two cells per sigma
        cells = (int(height / cell) + 4, int(width / cell) + 4)
        maps = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        strength = self.alpha * height / 256 * 2 * np.sqrt(np.pi) * 2  # smoothing reduces the noise to 1 / (2 sqrt(pi) sigma)
        for at in maps:
            coarse = self.random_generator.standard_normal(cells, np.float32) * np.float32(strength)
            coarse = cv2.GaussianBlur(coarse, (0, 0), 2, borderType=cv2.BORDER_REFLECT_101)
            at += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return {"map_x": maps[0], "map_y": maps[1]}


def _speckle(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Add speckle: multiplicative noise with the grain size of an ultrasound beam."""
    strength = np.float32(rng.uniform(0.04, 0.15) * 2 * np.sqrt(12))
    noise = (rng.random(image.shape[:2], np.float32) - np.float32(0.5)) * strength  # uniform: normal enough after the blur
    noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.4, 1.2))
    return _clip(image * (1 + _over_channels(noise, image)))


def _shadow(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Add a dark acoustic shadow that widens with depth."""
    height, width = image.shape[:2]
    centre, half, slope = rng.uniform(0, width), rng.uniform(0.03, 0.12) * width, rng.uniform(0, 0.2)
    depth, across = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    start, dark = rng.uniform(0, 0.6) * height, np.float32(rng.uniform(0.3, 0.8))
    widths = (half + slope * np.maximum(depth - start, 0)).astype(np.float32)
    inside = np.exp(-(((across - np.float32(centre)) / widths) ** 2)) * (depth > start)
    return _clip(image * _over_channels(1 - dark * inside, image))


def _gain_drift(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Change the gain smoothly with depth and across the scan, as time-gain compensation does."""
    coarse = rng.uniform(0.6, 1.4, (4, 2)).astype(np.float32)
    gain = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return _clip(image * _over_channels(gain, image))


def _over_channels(field: NDArray[Any], image: NDArray[Any]) -> NDArray[Any]:
    return field if image.ndim == 2 else field[..., None]


def _clip(image: NDArray[Any]) -> NDArray[Any]:
    clipped: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return clipped


STRENGTHS: dict[str, Callable[[], list[Any]]] = {
    "default": _default,
    "light": _light,
    "none": list,
    "flip-rotate-zoom": _flip_rotate_zoom,
    "shift-shear-zoom-flip": _shift_shear_zoom_flip,
}
