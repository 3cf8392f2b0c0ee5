"""What a network says of scans, whatever ran it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Answers(NamedTuple):
    """What a batch came to: mask probabilities (batch x height x width) and class logits (batch x classes)."""

    mask: Array | None
    classes: Array | None
