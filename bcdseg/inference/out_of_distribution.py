"""Out-of-distribution score: how far an image is from the training images of a model.

The score needs no network and is the same for each runtime. It compares 39 statistics of the gray image, such as brightness,
contrast, speckle, roughness and the profile over depth, with those of the training images by their Mahalanobis distance (Lee et
al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018, on image statistics instead of features).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcdseg.data.dataset import Dataset
from bcdseg.data.images import to_gray
from bcdseg.data.readers import mapped, read_sample_scan
from bcdseg.types import Flag, Pixels, Sample

SIDE = 160  # pixels: longer images are reduced to it
ROWS, COLUMNS, SCALES, TILE = 8, 4, 4, 8
FAR = 6.0  # statistics are clipped at this multiple of the interquartile range
TINY = 1e-3  # keeps logarithms and ratios of blank images finite
MARGIN = 0.5  # least decrease of the distance to the training images when an upside-down image is turned
FEWEST = 100  # training images: fewer describe themselves only
WITHIN, WIDER = 0.98, 1.35  # the threshold is this quantile of the training images' own distances, times this factor
Numbers = NDArray[np.float64]

BRIGHTNESS = 7  # six quantiles and the contrast come first, then the profile over depth
SIGNS = BRIGHTNESS + ROWS + COLUMNS + 5  # index of the asymmetry of the differences across, then of those over depth
COUNT = SIGNS + 3 + SCALES + 8


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """Statistics of the images that a model was trained on.

    Attributes:
        centre: Median of each statistic.
        spread: Interquartile range of each statistic.
        mean: Mean of the statistics in units of their interquartile ranges.
        whitening: Matrix whose product with a deviation from ``mean`` has the Mahalanobis distance as its length.
        threshold: Distance from which an image is out of distribution.
        images: Number of images.
    """

    centre: Sequence[float] = field(repr=False)
    spread: Sequence[float] = field(repr=False)
    mean: Sequence[float] = field(repr=False)
    whitening: Sequence[Sequence[float]] = field(repr=False)
    threshold: float
    images: int

    def __post_init__(self) -> None:
        shapes = [np.shape(values) for values in (self.centre, self.spread, self.mean, self.whitening)]
        if shapes != [(COUNT,)] * 3 + [(COUNT, COUNT)]:
            raise ValueError(f"training images have {COUNT} statistics and a matrix of that size, not {shapes}")
        if not all(np.isfinite(values).all() for values in (self.centre, self.spread, self.mean, self.whitening)):
            raise ValueError("the statistics of training images are finite numbers")
        if not (min(self.spread) > 0 and 0 < self.threshold < np.inf):
            raise ValueError("spread and threshold of training images are above 0")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingImages:
        """Build it from its ``dataclasses.asdict``, also after a round trip through JSON."""
        rows = tuple(tuple(row) for row in values["whitening"])
        vectors = {name: tuple(values[name]) for name in ("centre", "spread", "mean")}
        return cls(**{**values, **vectors, "whitening": rows})

    def distance(self, statistics: Numbers) -> float:
        """Return the Mahalanobis distance of an image from the training images, by its statistics."""
        centre, spread, mean, whitening = self._arrays
        scaled = ((statistics - centre) / spread).clip(-FAR, FAR)
        return float(np.linalg.norm(whitening @ (scaled - mean)))

    @cached_property
    def _arrays(self) -> tuple[Numbers, ...]:
        return tuple(np.asarray(values, np.float64) for values in (self.centre, self.spread, self.mean, self.whitening))


def describe_images(statistics: Numbers) -> TrainingImages | None:
    """Fit mean, covariance and threshold to the statistics of training images; None for fewer than 100 images.

    The covariance is shrunk (Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004).

    Args:
        statistics: Images x statistics.
    """
    if len(statistics) < FEWEST:
        return None
    low, centre, high = np.quantile(statistics, [0.25, 0.5, 0.75], axis=0)
    spread = high - low + TINY
    scaled = ((statistics - centre) / spread).clip(-FAR, FAR)
    mean = scaled.mean(axis=0)
    values, vectors = np.linalg.eigh(shrunk_covariance(scaled - mean))
    whitening = vectors.T / np.sqrt(values)[:, None]
    distances = np.linalg.norm((scaled - mean) @ whitening.T, axis=1)
    return TrainingImages(
        centre=_rounded(centre),
        spread=_rounded(spread),
        mean=_rounded(mean),
        whitening=tuple(map(_rounded, whitening)),
        threshold=float(np.quantile(distances, WITHIN) * WIDER),
        images=len(statistics),
    )


def shrunk_covariance(deviations: Numbers) -> Numbers:
    """Return the covariance of rows, shrunk to a multiple of the identity matrix by the amount of Ledoit and Wolf.

    Args:
        deviations: Rows from which the mean was subtracted.
    """
    count, size = deviations.shape
    covariance: Numbers = deviations.T @ deviations / count
    target = np.trace(covariance) / size * np.eye(size)
    distance = ((covariance - target) ** 2).sum()
    noise = (((deviations**2).sum(axis=1) ** 2).mean() - (covariance**2).sum()) / count
    share = min(noise / distance, 1.0) if distance > 0 else 0.0
    shrunk: Numbers = share * target + (1 - share) * covariance
    return shrunk


def _rounded(values: Numbers) -> tuple[float, ...]:
    """Round to six significant digits, which keeps the model's configuration short."""
    return tuple(float(f"{value:.6g}") for value in values)


def check_distribution(known: Sequence[TrainingImages], statistics: Numbers) -> tuple[float, tuple[Flag, ...]]:
    """Return the out-of-distribution score of an image, and the warnings that it is unlike the training images, or upside down.

    The score is the smallest distance from sets of training images, as a multiple of the threshold of the set.

    Args:
        known: One or several sets of training images.
        statistics: Statistics of the image.
    """
    turned = upside_down(statistics)
    distances = [each.distance(statistics) for each in known]
    score = min(distance / each.threshold for distance, each in zip(distances, known, strict=True))
    flags = []
    if score >= 1:
        text = f"The image is unlike the scans that the model was trained on: the out-of-distribution score is {score:.2f}."
        flags.append(Flag("out-of-distribution", f"{text} From 1, predictions are not reliable."))
    if all(each.distance(turned) < distance - MARGIN for distance, each in zip(distances, known, strict=True)):
        flags.append(Flag("upside-down", "The image seems to be upside down: the skin belongs at the top."))
    return score, tuple(flags)


def image_statistics(pixels: Pixels) -> Numbers:
    """Return the statistics of an image.

    Args:
        pixels: H x W (gray) or H x W x 3 (colour), uint8 or float32 from 0 to 1.
    """
    gray = _reduced(pixels)
    contrast = gray.std() + TINY
    scaled = (gray - gray.mean()) / contrast
    across, down = np.diff(scaled, axis=1), np.diff(scaled, axis=0)
    steps = (across, down, scaled[:, 4:] - scaled[:, :-4], scaled[4:] - scaled[:-4])
    roughness = [np.log(np.abs(step).mean() + TINY) for step in steps]
    scales, tails = _detail(scaled)
    local_mean, local_contrast = _tiles(gray)
    speckle = local_contrast / (local_mean + 0.05)
    squared, cubed = scaled * scaled, down * down * down  # several times as fast as powers
    return np.array(
        [
            *np.sqrt(_quantiles(gray, (0.1, 0.25, 0.5, 0.75, 0.9, 0.98))),
            np.log(contrast),
            *(part.mean() for part in np.array_split(scaled, ROWS, axis=0)),
            *(part.mean() for part in np.array_split(scaled, COLUMNS, axis=1)),
            *roughness,
            roughness[0] - roughness[1],
            (across > 0).mean() - (across < 0).mean(),
            (down > 0).mean() - (down < 0).mean(),
            cubed.mean() / (np.abs(cubed).mean() + TINY),
            *scales,
            (squared * scaled).mean(),
            np.log((squared * squared).mean() + TINY),
            tails,
            *_quantiles(speckle, (0.5, 0.9)),
            _correlation(local_mean, local_contrast),
            np.sqrt((gray < 0.01).mean()),
            np.sqrt((gray > 0.98).mean()),
        ],
        np.float64,
    )


def upside_down(statistics: Numbers) -> Numbers:
    """Return the statistics of the image turned upside down: the profile over depth and its asymmetry are reversed."""
    turned: Numbers = statistics.copy()
    turned[BRIGHTNESS : BRIGHTNESS + ROWS] = statistics[BRIGHTNESS : BRIGHTNESS + ROWS][::-1]
    turned[SIGNS + 1 : SIGNS + 3] *= -1
    return turned


def _reduced(pixels: Pixels) -> NDArray[np.float32]:
    """Convert an image to gray from 0 to 1, with at most ``SIDE`` rows and columns and at least ``TILE``."""
    gray = to_gray(pixels)
    image = Image.fromarray(gray if gray.dtype == np.uint8 else gray.astype(np.float32))
    scale = min(1.0, SIDE / max(gray.shape))
    width, height = (max(TILE, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    reduced: NDArray[np.float32] = np.asarray(image, np.float32) / np.float32(255 if gray.dtype == np.uint8 else 1)
    return reduced


def _quantiles(values: NDArray[np.float32], fractions: Sequence[float]) -> Numbers:
    """Return quantiles as ``np.quantile`` does, from one sort, which takes a fraction of its time."""
    ordered: Numbers = np.sort(values, axis=None).astype(np.float64)
    places = np.array(fractions) * (len(ordered) - 1)
    below = places.astype(np.intp)
    lower, upper = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)]
    found: Numbers = lower + (places - below) * (upper - lower)
    return found


def _detail(scaled: NDArray[np.float32]) -> tuple[list[float], float]:
    """Return the logarithm of the detail at each scale of a pyramid of block means, and the kurtosis of the finest detail."""
    deviations, tails = [], 0.0
    for scale in range(SCALES):
        height, width = (side // 2 for side in scaled.shape)
        if min(height, width) == 0:
            deviations.append(float(np.log(TINY)))
            continue
        corners = np.stack([scaled[row : 2 * height : 2, column : 2 * width : 2] for row in (0, 1) for column in (0, 1)])
        means = corners.mean(axis=0)
        squared = (corners - means) ** 2
        deviations.append(float(np.log(np.sqrt(squared.mean()) + TINY)))
        if scale == 0:
            tails = float(np.log((squared * squared).mean() / (squared.mean() ** 2 + 1e-9) + TINY))
        scaled = means
    return deviations, tails


def _tiles(gray: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of each square tile."""
    height, width = (side // TILE for side in gray.shape)
    tiles = gray[: height * TILE, : width * TILE].reshape(height, TILE, width, TILE).swapaxes(1, 2).reshape(height, width, -1)
    means = tiles.mean(axis=2)
    return means, np.sqrt(((tiles - means[:, :, None]) ** 2).mean(axis=2))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    product = ((first - first.mean()) * (second - second.mean())).mean()
    return float(product / (first.std() * second.std() + 1e-6))


MOST = 4000  # images, spread evenly over larger data sets


def describe_training_images(*parts: Dataset) -> tuple[TrainingImages, ...]:
    """Return the statistics of the images of data sets together: one set, or none for fewer than 100 images.

    Args:
        parts: Training data, of one or several hospitals.
    """
    samples = [sample for part in parts for sample in part]
    chosen = samples[:: max(1, -(-len(samples) // MOST))]
    described = describe_images(np.array(list(mapped(_statistics, chosen, lambda _: None))))
    return () if described is None else (described,)


def _statistics(sample: Sample) -> Numbers:
    scan = read_sample_scan(sample.image)
    return image_statistics(scan.pixels[scan.areas[0].window])
