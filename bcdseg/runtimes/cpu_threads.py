"""Threads that compute on one CPU core each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from threading import Lock, local
from typing import Any, ParamSpec, TypeVar

import torch

from bcdseg.networks.fork_safety import use_own_threads

Given = ParamSpec("Given")
Made = TypeVar("Made")
_KEPT = local()


def _nothing() -> None:
    """Do nothing, as the default initializer of a thread."""


@contextmanager
def single_core_threads(workers: int, begin: Callable[[], None] = _nothing) -> Iterator[Executor]:
    """Provide threads in each of which torch uses one thread; each calls the initializer first."""
    leave_parents()
    with _THREADS, closing(_kept_or_new(workers, begin)) as pool:
        yield pool


@contextmanager
def kept_threads() -> Iterator[None]:
    """Share threads between the consecutive streams of this thread, until the context is left.

    A new thread allocates all its memory again, page by page, which is slow where a stream is a single scan.
    """
    _KEPT.pools = {}
    try:
        yield
    finally:
        for pool in _KEPT.__dict__.pop("pools").values():
            pool.shutdown()


@contextmanager
def closing(pool: Executor) -> Iterator[Executor]:
    """Shut a pool down on exit: cancel what is waiting, and wait for what is running."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def leave_parents() -> None:
    """Reset the state of streams and threads in a forked process, as a fork doesn't copy threads."""
    use_own_threads()
    if _THREADS.process != os.getpid():
        _THREADS.begin()
        if hasattr(_KEPT, "pools"):
            _KEPT.pools = {}


def _kept_or_new(workers: int, begin: Callable[[], None]) -> Executor:
    pools = getattr(_KEPT, "pools", None)
    if pools is None:
        return _new(workers, begin)
    if (workers, begin) not in pools:
        pools[workers, begin] = _new(workers, begin)
    return _Borrowed(pools[workers, begin])


def _new(workers: int, begin: Callable[[], None]) -> ThreadPoolExecutor:
    def ready() -> None:
        torch.set_num_threads(1)
        begin()

    return ThreadPoolExecutor(workers, "bcdseg", ready)


class _Borrowed(Executor):
    """Executor on a shared pool: its shutdown ends its own work, but not the threads of the pool."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._open: set[Future[Any]] = set()

    def submit(self, fn: Callable[Given, Made], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Made]:
        future = self._pool.submit(fn, *args, **kwargs)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        rest = tuple(self._open)
        for future in rest if cancel_futures else ():
            future.cancel()
        if wait:
            wait_for(rest)


class _CountOfThreads:
    """Torch's number of threads, restored after streams that may overlap: a worker's setting also applies to later threads."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Reset the count of streams."""
        self.lock, self.streams, self.threads, self.process = Lock(), 0, 0, os.getpid()

    def __enter__(self) -> None:
        with self.lock:
            self.threads = self.threads if self.streams else torch.get_num_threads()
            self.streams += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.streams -= 1
            if not self.streams:
                torch.set_num_threads(self.threads)


_THREADS = _CountOfThreads()
