"""Statistics of the images that a model is trained on, for its out-of-distribution score."""

from __future__ import annotations

import numpy as np

from bcdseg.data.dataset import Dataset
from bcdseg.data.readers import mapped, read_scan
from bcdseg.inference.out_of_distribution import Numbers, TrainingImages, describe_images, image_statistics
from bcdseg.types import Sample

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
    scan = read_scan(sample.image)
    return image_statistics(scan.pixels[scan.areas[0].window])
