"""Selection of the gallery's scans: best, median and worst Dice, false lesions, wrong classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.results_table import Cases
from bcdseg.types import Mask, Pixels

KINDS = {
    "worst": "Lowest Dice; the largest missed lesions first.",
    "median": "Around the median Dice.",
    "best": "Highest Dice.",
    "false lesion": "A lesion is outlined in a scan without one.",
    "confidently wrong": "The predicted class is not the true one, the most confident first.",
}


@dataclass(frozen=True, eq=False)
class GalleryItem:
    """One scan of the gallery.

    Attributes:
        id: Id of the scan.
        kind: Reason for its selection: one of ``KINDS``.
        at: Row of the scan in the results table.
        image: Pixels of the scan.
        truth: True mask, or None.
        predicted: Predicted mask, or None.
        heatmap: Grad-CAM heat map of the predicted class, or None.
    """

    id: str
    kind: str
    at: int
    image: Pixels
    truth: Mask | None
    predicted: Mask | None
    heatmap: NDArray[np.float32] | None = None


def choose(cases: Cases, count: int) -> Iterator[tuple[str, int]]:
    """Yield kind and row of the selected scans, up to ``count`` of each kind; no scan is selected twice."""
    shown: set[int] = set()
    for kind, rows in _ranked(cases, count).items():
        fresh = [row for row in rows if row not in shown][:count]
        shown.update(fresh)
        yield from ((kind, row) for row in fresh)


def _ranked(cases: Cases, count: int) -> dict[str, Sequence[int]]:
    dice, area = cases.outline["dice"], cases.outline["truth_area"]
    lesions = np.flatnonzero(cases.lesion)
    lesions = lesions[np.lexsort((-area[lesions], dice[lesions]))]
    middle = sorted(range(len(lesions)), key=lambda rank: abs(rank - (len(lesions) - 1) / 2))
    false_lesions = np.flatnonzero(cases.clear & (cases.outlined == 1))
    confidence = cases.probabilities.max(axis=1, initial=0.0)
    wrong = np.flatnonzero(cases.has_class & (cases.predicted != cases.labels))
    return {
        "worst": lesions.tolist(),
        "best": lesions[::-1].tolist() if len(lesions) > count else [],
        "median": [int(lesions[rank]) for rank in middle] if len(lesions) > 2 * count else [],
        "false lesion": false_lesions.tolist(),
        "confidently wrong": wrong[np.argsort(-confidence[wrong], kind="stable")].tolist(),
    }
