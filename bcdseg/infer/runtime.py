"""What runs a network, as the predictor sees it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Protocol

from bcdseg.infer.answers import Answers, Array


class Runtime(Protocol):
    """What runs a network. It may be called from several threads."""

    @property
    def workers(self) -> int:
        """How many threads keep it busy."""

    def __call__(self, batch: Sequence[Array]) -> Answers:
        """Run a batch of preprocessed scans of one size."""

    def heat(self, scan: Array, class_index: int) -> Array:
        """Where the score of a class came from, over one preprocessed scan."""

    def pool(self) -> AbstractContextManager[Executor]:
        """The threads of a stream."""
