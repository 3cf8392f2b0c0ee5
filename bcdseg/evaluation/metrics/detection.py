"""Lesion detection metrics, as pure functions of masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import label

from bcdseg.types import Mask

FOUND_FROM = 0.1  # least IoU of a predicted region and the lesion that it finds
TOUCHING = np.ones((3, 3), bool)  # 8-connectivity: pixels that touch at a corner are in one region


class Detection(NamedTuple):
    """The lesions of one scan, matched to predicted regions.

    Attributes:
        lesions: Number of true lesions.
        found: Number of lesions with a matching predicted region.
        false: Number of false lesions: predicted regions that match no lesion.
    """

    lesions: int
    found: int
    false: int

    @property
    def sensitivity(self) -> float | None:
        """Fraction of the lesions that is found; None without lesions."""
        return self.found / self.lesions if self.lesions else None


def detect(predicted: Mask, truth: Mask, *, found_from: float = FOUND_FROM) -> Detection:
    """Match the predicted regions of a scan to its lesions.

    A region can match a lesion when their IoU is at least ``found_from``. Pairs are matched in the order of their IoU, the largest
    first, and each region and each lesion is in at most one pair. Of two regions in one lesion one is a false lesion, and one
    region over two lesions finds one of them.

    Empty masks: without a lesion nothing can be found and every predicted region is false; with an empty prediction every lesion is
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
