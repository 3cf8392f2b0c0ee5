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

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_shared = local()


def _nothing() -> None:
    """Do nothing, as the default initializer of a thread."""


@contextmanager
def single_core_threads(workers: int, initializer: Callable[[], None] = _nothing) -> Iterator[Executor]:
    """Provide threads in each of which torch uses one thread; each calls the initializer first."""
    reset_after_fork()
    with _thread_count, closing(_shared_or_new(workers, initializer)) as pool:
        yield pool


@contextmanager
def reuse_threads() -> Iterator[None]:
    """Share threads between the consecutive streams of this thread, until the context is left.

    A new thread allocates all its memory again, page by page, which is slow where a stream is a single scan.
    """
    _shared.pools = {}
    try:
        yield
    finally:
        for pool in _shared.__dict__.pop("pools").values():
            pool.shutdown()


@contextmanager
def closing(pool: Executor) -> Iterator[Executor]:
    """Shut a pool down on exit: cancel what is waiting, and wait for what is running."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def reset_after_fork() -> None:
    """Reset the state of streams and threads in a forked process, as a fork doesn't copy threads."""
    use_own_threads()
    if _thread_count.process != os.getpid():
        _thread_count.reset()
        if hasattr(_shared, "pools"):
            _shared.pools = {}


def _shared_or_new(workers: int, initializer: Callable[[], None]) -> Executor:
    pools = getattr(_shared, "pools", None)
    if pools is None:
        return _new(workers, initializer)
    if (workers, initializer) not in pools:
        pools[workers, initializer] = _new(workers, initializer)
    return _SharedPool(pools[workers, initializer])


def _new(workers: int, initializer: Callable[[], None]) -> ThreadPoolExecutor:
    def initialize() -> None:
        torch.set_num_threads(1)
        initializer()

    return ThreadPoolExecutor(workers, "bcdseg", initialize)


class _SharedPool(Executor):
    """Executor on a shared pool: its shutdown ends its own work, but not the threads of the pool."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._unfinished: set[Future[Any]] = set()

    def submit(self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Future[Result]:
        future = self._pool.submit(fn, *args, **kwargs)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        unfinished = tuple(self._unfinished)
        for future in unfinished if cancel_futures else ():
            future.cancel()
        if wait:
            wait_for(unfinished)


class _ThreadCount:
    """Torch's number of threads, restored after streams that may overlap: a worker's setting also applies to later threads."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
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


_thread_count = _ThreadCount()
