"""What a validation pass found out about each scan: what the metrics of training and its pictures are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan of the validation part, at the network's size.

    Attributes:
        id: The sample's id.
        label: Index of its true class, None when it is unknown.
        probabilities: Of each class, None from a network without a class head.
        dice: Of the outline at one half against the true mask, None when either doesn't exist. Two empty masks agree: 1.
        truth_area: Pixels of the true mask, None when it is unknown.
        outlined: Whether any pixel is outlined, None from a network without a mask head.
    """

    id: str
    label: int | None = None
    probabilities: NDArray[np.float32] | None = None
    dice: float | None = None
    truth_area: int | None = None
    outlined: bool | None = None
