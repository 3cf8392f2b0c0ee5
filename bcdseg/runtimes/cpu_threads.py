"""Threads of streams of scans, which consecutive streams can share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from threading import local
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_shared = local()


@contextmanager
def stream_threads(workers: int, initializer: Callable[[], None]) -> Iterator[Executor]:
    """Provide the threads of a stream; each calls the initializer first."""
    with closing(_shared_or_new(workers, initializer)) as pool:
        yield pool


@contextmanager
def reuse_threads() -> Iterator[None]:
    """Share threads between the consecutive streams of this thread, until the context is left.

    A new thread allocates all its memory again, page by page, which is slow where a stream is a single scan.
    """
    _shared.pools, _shared.process = {}, os.getpid()
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


def _shared_or_new(workers: int, initializer: Callable[[], None]) -> Executor:
    if not hasattr(_shared, "pools"):
        return ThreadPoolExecutor(workers, "bcdseg", initializer)
    if _shared.process != os.getpid():  # a fork doesn't copy the threads of its parent
        _shared.pools, _shared.process = {}, os.getpid()
    if (workers, initializer) not in _shared.pools:
        _shared.pools[workers, initializer] = ThreadPoolExecutor(workers, "bcdseg", initializer)
    return _SharedPool(_shared.pools[workers, initializer])


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
