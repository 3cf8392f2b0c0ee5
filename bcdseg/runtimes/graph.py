"""Runtime of converted graphs on a CPU, and the cache of the graphs.

Cache files are written atomically and contain their checksum; a damaged file counts as missing, and its graph is converted again.
Processes that start at the same time may each convert a graph; the last one to finish writes the file, and all are the same.
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
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bcdseg.errors import OutputError
from bcdseg.files import cache_folder, write_whole
from bcdseg.networks import fork_safety
from bcdseg.runtimes.base import Array, RawOutput, Runtime
from bcdseg.runtimes.cpu_threads import stream_threads

if TYPE_CHECKING:
    from bcdseg.runtimes.conversion import Traced

CHECKSUM = 32  # bytes at the start of each file


def graph_key(parts: Iterable[bytes]) -> str:
    """Return the cache key for everything that a graph depends on."""
    digest = blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def read_graph(key: str) -> bytes | None:
    """Read the cached content of a key; None where it is missing or damaged."""
    try:
        content = _path(key).read_bytes()
    except OSError:
        return None
    return content[CHECKSUM:] if content[:CHECKSUM] == _checksum(content[CHECKSUM:]) else None


def has_graph(key: str) -> bool:
    """Return whether a key has content in the cache, which may be damaged."""
    return _path(key).is_file()


def keep_graph(key: str, content: bytes) -> None:
    """Cache a content for later processes, if the cache is writable."""
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
"""Function from a batch of one scan to its raw output, thread-safe."""


class Engine(Protocol):
    """Interface of a library that runs graphs on a CPU."""

    name: str
    precision_is_traced: bool  # whether the traced graph has the precision, or the engine applies it

    def version(self) -> str:
        """Return the version of the library."""

    def convert(self, traced: Traced, precision: str, calibrate_on: Sequence[Array]) -> bytes:
        """Convert a traced network to a graph of this library."""

    def compile(self, graph: bytes, precision: str, parallel: int) -> Run:
        """Compile a graph for one scan on all cores, or for several parallel scans with a part of the cores each."""


class GraphRuntime:
    """Runtime of a graph on a CPU, thread-safe.

    A single scan uses all cores; each thread of a stream runs one scan on a part of the cores. Each of the two modes is compiled on
    first use. Graphs have no gradients, so torch computes the heat maps; its runtime is created with the first heat map.
    """

    def __init__(self, engine: Engine, graph: bytes, precision: str, make_reference: Callable[[], Runtime]) -> None:
        self.name, self.precision, self.graph = engine.name, precision, graph
        self._compile: Callable[[int], Run] = lambda parallel: engine.compile(graph, precision, parallel)
        self._compiled: dict[int, Run] = {}
        self._make_reference = make_reference
        self._lock = threading.Lock()
        self._thread = threading.local()

    @property
    def workers(self) -> int:
        """Number of cores that the process may use, up to a maximum."""
        return min(MOST_WORKERS, cores())

    @property
    def has_lost_threads(self) -> bool:
        """Whether it was created before a fork."""
        return fork_safety.has_lost_threads(self.name)

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Provide threads for a stream."""
        with stream_threads(self.workers, self._join_stream) as pool:
            yield pool

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Run preprocessed scans one by one, as a batch is not faster on a CPU."""
        run = self._compiled_for(self.workers if getattr(self._thread, "in_stream", False) else 1)
        outputs = [run(np.ascontiguousarray(scan[None])) for scan in batch]
        return outputs[0] if len(outputs) == 1 else RawOutput(*(_concatenated(parts) for parts in zip(*outputs, strict=True)))

    def heatmap(self, scan: Array, class_index: int) -> Array:
        """Compute the heat map of a class for one preprocessed scan."""
        with self._lock:
            reference = self._reference
        return reference.heatmap(scan, class_index)

    def _join_stream(self) -> None:
        self._thread.in_stream = True

    @cached_property
    def _reference(self) -> Runtime:
        return self._make_reference()

    def _compiled_for(self, parallel: int) -> Run:
        with self._lock:
            if parallel not in self._compiled:
                self._compiled[parallel] = self._compile(parallel)
            return self._compiled[parallel]


def cores() -> int:
    """Return the number of cores that the process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, thread_limit() or available)


def thread_limit() -> int | None:
    """Return the value of OMP_NUM_THREADS, which torch obeys too; None if it is not set."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) or None if threads.isdecimal() else None


def _concatenated(parts: tuple[Array | None, ...]) -> Array | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None
