"""Interface of a runtime, and the raw output of a network."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class RawOutput(NamedTuple):
    """Raw output of a network for a batch.

    Attributes:
        mask: Lesion probability of each pixel, batch x height x width; None for a model without a mask.
        classes: Class logits, batch x classes; None for a model without classes.
        members: Class logits of each member or view where there are several, batch x members x classes; None otherwise.
    """

    mask: Array | None
    classes: Array | None
    members: Array | None = None


def to_unit(heatmap: Array) -> Array:
    """Scale a heat map so that its maximum is 1; one without positive values becomes 0."""
    largest = float(heatmap.max())
    return np.clip(heatmap / largest, 0, 1).astype(np.float32) if largest > 0 else np.zeros_like(heatmap, np.float32)


class Runtime(Protocol):
    """Interface for running a network, thread-safe."""

    @property
    def workers(self) -> int:
        """Number of threads that keep the runtime busy."""

    @property
    def has_lost_threads(self) -> bool:
        """Whether it was created before a fork, which hasn't copied threads that it needs."""

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Run a batch of preprocessed scans of one size."""

    def heatmap(self, scan: Array, class_index: int) -> Array:
        """Compute the heat map of a class for one preprocessed scan."""

    def pool(self) -> AbstractContextManager[Executor]:
        """Return a thread pool for a stream of scans."""
