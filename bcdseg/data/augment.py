"""Augmentation for training: what scanners, hands and screenshots do to a scan. The one owner of albumentations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import OptionError
from bcdseg.extras import require

require("albumentations", extra="train", purpose="Augmentation")

import albumentations as A  # noqa: E402 - only now it is known to be there
import cv2  # noqa: E402

from bcdseg.data.marks import paint_marks  # noqa: E402 - OpenCV comes with albumentations

Pipeline = A.Compose
"""What users may hand in as their own."""


def build(strength: str, size: tuple[int, int] | None = None, seed: int | None = None) -> A.Compose:
    """A pipeline over ``image`` (uint8, height x width x channels) and ``mask``; geometry moves both.

    Args:
        strength: ``"default"``, ``"light"`` (flips and small affine and brightness changes), ``"none"``, or a set that older
            systems were trained with: ``"flip-rotate-zoom"``, ``"shift-shear-zoom-flip"``.
        size: Height and width of what comes out; None keeps them.
        seed: For the same changes in each run.
    """
    if strength not in STRENGTHS:
        raise OptionError(f"augment={strength!r} is unknown: choose one of {', '.join(STRENGTHS)}.")
    return A.Compose([*STRENGTHS[strength](), *([] if size is None else [A.Resize(*size)])], seed=seed)


def one_thread() -> None:
    """Keep OpenCV to one thread in this process: on scans of this size its threads cost more than they bring."""
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
    return A.Sharpen(alpha=(0.1, 0.3), lightness=(1, 1))  # which leaves the scan as bright as it was


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
    """A function of an image and a random generator as a step of the pipeline."""

    def __init__(self, function: Callable[[NDArray[Any], np.random.Generator], NDArray[Any]], p: float) -> None:
        super().__init__(p=p)
        self.function = function

    def apply(self, img: NDArray[Any], **_: Any) -> NDArray[Any]:
        """Called by albumentations."""
        return self.function(img, self.random_generator)


class Elastic(A.ElasticTransform):  # type: ignore[misc]
    """Tissue pressed and pushed: smooth random displacement, ``alpha`` pixels strong (standard deviation), ``sigma`` pixels smooth.

    Both are those of a scan of 256 pixels height, and grow with it. Drawn on a coarse grid and interpolated: no eye can tell it
    from albumentations' own, and it takes a fraction of the time.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Called by albumentations."""
        height, width = params["shape"][:2]
        cell = max(1.0, self.sigma * height / 256 / 2)  # two cells are sigma
        cells = (int(height / cell) + 4, int(width / cell) + 4)
        maps = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        strength = self.alpha * height / 256 * 2 * np.sqrt(np.pi) * 2  # smoothing leaves 1 / (2 sqrt(pi) sigma) of the noise
        for at in maps:
            coarse = self.random_generator.standard_normal(cells, np.float32) * np.float32(strength)
            coarse = cv2.GaussianBlur(coarse, (0, 0), 2, borderType=cv2.BORDER_REFLECT_101)
            at += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return {"map_x": maps[0], "map_y": maps[1]}


def _speckle(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Multiplicative noise with the grain of an ultrasound beam."""
    strength = np.float32(rng.uniform(0.04, 0.15) * 2 * np.sqrt(12))
    noise = (rng.random(image.shape[:2], np.float32) - np.float32(0.5)) * strength  # uniform: blurred it is as good as normal
    noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.4, 1.2))
    return _clip(image * (1 + _over_channels(noise, image)))


def _shadow(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """A dark acoustic shadow that widens with depth."""
    height, width = image.shape[:2]
    centre, half, slope = rng.uniform(0, width), rng.uniform(0.03, 0.12) * width, rng.uniform(0, 0.2)
    depth, across = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    start, dark = rng.uniform(0, 0.6) * height, np.float32(rng.uniform(0.3, 0.8))
    widths = (half + slope * np.maximum(depth - start, 0)).astype(np.float32)
    inside = np.exp(-(((across - np.float32(centre)) / widths) ** 2)) * (depth > start)
    return _clip(image * _over_channels(1 - dark * inside, image))


def _gain_drift(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Gain that changes smoothly with depth and across the scan, as time-gain compensation does."""
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
