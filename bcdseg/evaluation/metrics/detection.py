"""Lesion detection metrics: pure functions over masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import label

from bcdseg.types import Mask

FOUND_FROM = 0.1  # IoU of an outlined region and a lesion
TOUCHING = np.ones((3, 3), bool)  # pixels that touch at a corner belong together


class Detection(NamedTuple):
    """Lesions of one scan.

    Attributes:
        lesions: True ones.
        found: Those that an outlined region was matched to.
        false: Outlined regions that were matched to none.
    """

    lesions: int
    found: int
    false: int

    @property
    def sensitivity(self) -> float | None:
        """The share of the lesions that is found; None where there is none."""
        return self.found / self.lesions if self.lesions else None


def detect(predicted: Mask, truth: Mask, *, found_from: float = FOUND_FROM) -> Detection:
    """Match the outlined regions of a scan to its lesions.

    A region may be matched to a lesion when their IoU is at least ``found_from``. Pairs are taken in the order of their IoU,
    the largest first, and each region and each lesion belongs to one pair at most: of two regions in one lesion the second is
    false, and one region over two lesions finds one of them.

    Empty masks: without a lesion nothing can be found and every outlined region is false; with nothing outlined every lesion is
    missed.
    """
    outlined, regions = label(predicted, TOUCHING)
    lesion, lesions = label(truth, TOUCHING)
    if not regions or not lesions:
        return Detection(lesions, 0, regions)
    pairs, shared = np.unique(
        outlined[predicted & truth].astype(np.int64) * (lesions + 1) + lesion[predicted & truth], return_counts=True
    )
    ones, others = np.divmod(pairs, lesions + 1)
    areas, true_areas = np.bincount(outlined.ravel()), np.bincount(lesion.ravel())
    iou = shared / (areas[ones] + true_areas[others] - shared)
    free, missed = set(range(1, regions + 1)), set(range(1, lesions + 1))
    for at in np.argsort(-iou, kind="stable"):
        one, other = int(ones[at]), int(others[at])
        if iou[at] >= found_from and one in free and other in missed:
            free.remove(one)
            missed.remove(other)
    return Detection(lesions, lesions - len(missed), len(free))
