"""One number for both tasks, to choose by; never to report instead of the measures it is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def joint_score(*, lesion_dice: Sequence[float], normal_clean: Sequence[bool], balanced_accuracy: float | None) -> float:
    """The mean of a mask score and a class score, each from 0 to 1.

    The mask score is the mean over all scans whose mask is known: of a scan with a lesion its Dice (0 when the lesion is missed),
    of a scan without one 1 when nothing is outlined and 0 when something is. The class score is the balanced accuracy.
    A task of which nothing is known is left out; with neither the score is NaN.

    Args:
        lesion_dice: Dice of each scan that has a lesion.
        normal_clean: Of each scan with an empty mask, whether nothing is outlined.
        balanced_accuracy: Mean over the classes of the share that is called right, None when no label is known.
    """
    scans = [*map(float, lesion_dice), *map(float, normal_clean)]
    scores = [float(np.mean(scans))] if scans else []
    scores += [] if balanced_accuracy is None else [balanced_accuracy]
    return float(np.mean(scores)) if scores else float("nan")
