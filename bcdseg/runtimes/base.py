"""Interface of a runtime, and the raw output of a network."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Runtime(Protocol):
    """What runs a network. It may be called from several threads."""

    @property
    def workers(self) -> int:
        """How many threads keep it busy."""

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Run a batch of preprocessed scans of one size."""

    def heat(self, scan: Array, class_index: int) -> Array:
        """Where the score of a class came from, over one preprocessed scan."""

    def pool(self) -> AbstractContextManager[Executor]:
        """The threads of a stream."""


Array = NDArray[np.float32]


class RawOutput(NamedTuple):
    """What a batch came to.

    Attributes:
        mask: Probabilities of 'lesion here', batch x height x width.
        classes: Class logits, batch x classes.
        members: The class logits of each that was asked, where several were: batch x members x classes.
    """

    mask: Array | None
    classes: Array | None
    members: Array | None = None
