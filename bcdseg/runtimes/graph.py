"""Converted graphs: run by OpenVINO or ONNX Runtime, and cached.

A file is written whole or not at all, and carries its own checksum: one that is damaged counts as missing and is made anew.
Processes that start at once may each make a graph; the last one to finish leaves its file, and all are the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np

from bcdseg.errors import OutputError
from bcdseg.files import cache_folder, write_whole
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.conversion import Traced
from bcdseg.runtimes.cpu_threads import single_core_threads
from bcdseg.runtimes.torch_runtime import TorchRuntime

CHECKSUM = 32  # bytes at the start of each file


def graph_key(parts: Iterable[bytes]) -> str:
    """One name for everything that a graph depends on."""
    digest = blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def read_graph(key: str) -> bytes | None:
    """What is kept under a key; None when there is nothing whole."""
    try:
        content = _path(key).read_bytes()
    except OSError:
        return None
    return content[CHECKSUM:] if content[:CHECKSUM] == _checksum(content[CHECKSUM:]) else None


def keep_graph(key: str, content: bytes) -> None:
    """Keep it for later processes. Where nothing can be written, nothing is kept."""
    try:
        write_whole(_path(key), _checksum(content) + content, overwrite=True)
    except OutputError:
        return


def _path(key: str) -> Path:
    return cache_folder() / "graphs" / key


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=CHECKSUM).digest()


MOST_WORKERS = 8

Run = Callable[[Array], RawOutput]
"""A batch of one scan in, its answer out. It may be called from several threads."""


class Engine(Protocol):
    """A library that runs graphs on a CPU."""

    name: str
    precision_is_traced: bool  # whether it compiles a network that computes in the precision, or brings it about itself

    def version(self) -> str:
        """Of the library."""

    def convert(self, traced: Traced, precision: str, calibrate_on: Sequence[Array]) -> bytes:
        """A traced network as a graph of this library."""

    def compiled(self, graph: bytes, precision: str, side_by_side: int) -> Run:
        """A graph made ready for one scan on all cores, or for several side by side with a share of the cores each."""


class GraphRuntime:
    """A graph on a CPU. Safe to call from several threads.

    Single scans take all cores; the threads of a stream take a scan and a share of the cores each. Each of the two ways is made
    ready when it is first used. Graphs have no gradients, so heat maps are torch's, which is made ready when one is asked for.
    """

    def __init__(self, engine: Engine, graph: bytes, precision: str, make_exact: Callable[[], TorchRuntime]) -> None:
        self.name, self.precision, self.graph = engine.name, precision, graph
        self._compile: Callable[[int], Run] = lambda side_by_side: engine.compiled(graph, precision, side_by_side)
        self._make_exact = make_exact
        self._making = threading.Lock()
        self._in_stream = threading.local()

    @property
    def workers(self) -> int:
        """One for each core that the process may use."""
        return min(MOST_WORKERS, cores())

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Threads for a stream."""
        with single_core_threads(self.workers, self._join_stream) as pool:
            yield pool

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Run preprocessed scans one by one: on a CPU a batch is no faster."""
        run = self._side_by_side if getattr(self._in_stream, "joined", False) else self._alone
        answers = [run(np.ascontiguousarray(scan[None])) for scan in batch]
        return answers[0] if len(answers) == 1 else RawOutput(*(_joined(parts) for parts in zip(*answers, strict=True)))

    def heat(self, scan: Array, class_index: int) -> Array:
        """Where the score of a class came from, over one preprocessed scan."""
        with self._making:
            exact = self._exact
        return exact.heat(scan, class_index)

    def _join_stream(self) -> None:
        self._in_stream.joined = True

    @cached_property
    def _ready(self) -> dict[int, Run]:
        return {}

    @cached_property
    def _exact(self) -> TorchRuntime:
        return self._make_exact()

    @property
    def _alone(self) -> Run:
        return self._of(1)

    @property
    def _side_by_side(self) -> Run:
        return self._of(self.workers)

    def _of(self, side_by_side: int) -> Run:
        with self._making:
            if side_by_side not in self._ready:
                self._ready[side_by_side] = self._compile(side_by_side)
            return self._ready[side_by_side]


def cores() -> int:
    """How many the process may use."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(bound, thread_limit() or bound)


def thread_limit() -> int | None:
    """What OMP_NUM_THREADS says, which torch minds too; None where it says nothing."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) or None if asked.isdecimal() else None


def _joined(parts: tuple[Array | None, ...]) -> Array | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None
