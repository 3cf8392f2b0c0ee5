"""Lesion detection metrics, as pure functions of masks, and of the regions that were matched in all scans."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.ndimage import mean as region_mean

from bcdseg.types import Mask

FOUND_FROM = 0.1  # least IoU of a predicted region and the lesion that it finds
TOUCHING = np.ones((3, 3), bool)  # 8-connectivity: pixels that touch at a corner are in one region
FALSE_PER_SCAN = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False lesions per scan at which a FROC curve is read, as in CAMELYON16."""


class Region(NamedTuple):
    """One predicted region.

    Attributes:
        score: Mean mask probability inside the region.
        hit: Whether it is matched to a lesion.
    """

    score: float
    hit: bool


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


def detect(y_true: Mask, y_pred: Mask, *, found_from: float = FOUND_FROM) -> Detection:
    """Match the predicted regions of a scan to its lesions.

    A region can match a lesion when their IoU is at least ``found_from``. Pairs are matched in the order of their IoU, the largest
    first, and each region and each lesion is in at most one pair. Of two regions in one lesion one is a false lesion, and one
    region over two lesions finds one of them.

    Empty masks: without a lesion nothing can be found and every predicted region is false; with an empty prediction every lesion is
    missed.

    Args:
        y_true: True mask.
        y_pred: Predicted mask, of the same size.
        found_from: Least IoU of a region and a lesion that match.

    Examples:
        >>> truth = np.zeros((8, 8), bool)
        >>> truth[1:4, 1:4] = True
        >>> detect(truth, ~truth).false
        1
    """
    numbered, regions = label(y_pred, TOUCHING)
    lesion, lesions = label(y_true, TOUCHING)
    hit = _matched(y_true & y_pred, numbered, lesion, found_from)
    return Detection(lesions, len(hit), regions - len(hit))


def scored_regions(
    y_true: Mask, y_pred: Mask, probability: NDArray[np.floating], *, found_from: float = FOUND_FROM
) -> tuple[Region, ...]:
    """Return the predicted regions of a scan with their scores, matched to its lesions as in ``detect``.

    Empty masks: without a predicted region there is nothing to return; without a lesion no region is matched.

    Args:
        y_true: True mask.
        y_pred: Predicted mask, of the same size.
        probability: Mask probability of each pixel.
        found_from: Least IoU of a region and a lesion that match.
    """
    numbered, regions = label(y_pred, TOUCHING)
    hit = _matched(y_true & y_pred, numbered, label(y_true, TOUCHING)[0], found_from)
    numbers = range(1, regions + 1)
    scores = region_mean(probability, numbered, numbers) if regions else ()
    return tuple(Region(float(score), number in hit) for number, score in zip(numbers, scores, strict=True))


def _matched(shared: Mask, numbered: NDArray[np.int32], lesion: NDArray[np.int32], found_from: float) -> set[int]:
    """Return the numbers of the regions that are matched to a lesion."""
    lesions = int(lesion.max(initial=0))
    pairs, pixels = np.unique(numbered[shared].astype(np.int64) * (lesions + 1) + lesion[shared], return_counts=True)
    regions, partners = np.divmod(pairs, lesions + 1)
    areas, true_areas = np.bincount(numbered.ravel()), np.bincount(lesion.ravel())
    iou = pixels / (areas[regions] + true_areas[partners] - pixels)
    hit: set[int] = set()
    found: set[int] = set()
    for at in np.argsort(-iou, kind="stable"):
        region, partner = int(regions[at]), int(partners[at])
        if iou[at] >= found_from and region not in hit and partner not in found:
            hit.add(region)
            found.add(partner)
    return hit


def froc(
    y_true: NDArray[np.bool_],
    y_score: NDArray[np.float64],
    lesions: float,
    scans: float,
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the free-response ROC curve: false lesions per scan and sensitivity, from the highest score to the lowest.

    At a threshold t, with the regions whose score is at least t: sensitivity = matched regions / lesions, and false lesions per
    scan = regions without a match / scans. The curve starts at (0, 0) and ends at the regions that the model outlines.

    Empty masks: a scan without a lesion and without a predicted region counts among the scans. Without any lesion or scan the
    curve is undefined, and both arrays are NaN.

    Args:
        y_true: Whether each predicted region of all scans is matched to a lesion.
        y_score: Score of each region.
        lesions: Number of lesions in all scans.
        scans: Number of scans.
        weights: How often each region counts; by default once.

    Examples:
        >>> false_per_scan, sensitivity = froc(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]), 2, 2)
        >>> false_per_scan.tolist(), sensitivity.tolist()
        ([0.0, 0.0, 0.5, 0.5], [0.0, 0.5, 0.5, 1.0])
    """
    counts = np.ones(len(y_score)) if weights is None else weights
    order = np.argsort(-y_score, kind="stable")
    ends = np.flatnonzero(np.diff(y_score[order], append=-np.inf))
    right = np.concatenate(([0.0], np.cumsum((counts * y_true)[order])[ends]))
    wrong = np.concatenate(([0.0], np.cumsum((counts * ~y_true)[order])[ends]))
    if not lesions or not scans:
        return np.full(len(right), np.nan), np.full(len(right), np.nan)
    return wrong / scans, right / lesions


def froc_score(
    false_per_scan: NDArray[np.float64], sensitivity: NDArray[np.float64], at: tuple[float, ...] = FALSE_PER_SCAN
) -> float:
    """Return the mean sensitivity of a FROC curve at some numbers of false lesions per scan.

    Between two points the curve is linear; beyond its end it keeps its last sensitivity.
    """
    return float(np.mean(np.interp(at, false_per_scan, sensitivity))) if len(sensitivity) else float("nan")
