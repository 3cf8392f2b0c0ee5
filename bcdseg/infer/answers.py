"""What a network says of scans, whatever ran it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Answers(NamedTuple):
    """What a batch came to.

    Attributes:
        mask: Probabilities of 'lesion here', batch x height x width.
        classes: Class logits, batch x classes.
        members: The class logits of each that was asked, where several were: batch x members x classes.
    """

    mask: Array | None
    classes: Array | None
    members: Array | None = None
