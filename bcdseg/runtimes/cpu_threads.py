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
    """What a thread begins with that needs no more than its one core."""


@contextmanager
def single_core_threads(workers: int, begin: Callable[[], None] = _nothing) -> Iterator[Executor]:
    """Threads in which torch uses no others; each of them begins with a call."""
    leave_parents()
    with _THREADS, closing(_kept_or_new(workers, begin)) as pool:
        yield pool


@contextmanager
def kept_threads() -> Iterator[None]:
    """While it is entered, the streams that this thread begins one after the other share their threads.

    A new thread has to get all its memory anew, page by page: much, where a stream is a single scan.
    """
    _KEPT.pools = {}
    try:
        yield
    finally:
        for pool in _KEPT.__dict__.pop("pools").values():
            pool.shutdown()


@contextmanager
def closing(pool: Executor) -> Iterator[Executor]:
    """A pool that is left with nothing waiting and nothing running."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def leave_parents() -> None:
    """In a forked process forget the streams that the fork has left behind, and use this process's threads."""
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
    """Threads of a pool that others use afterwards: shutting this down ends its own work, not them."""

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
    """Torch's number of threads, kept over streams that may overlap: a worker's own setting is also that of later threads."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Know of no stream."""
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
