"""The same work on many scans, in threads: decoding and filtering leave Python's lock, so two cores do twice as much."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4  # results that may wait for each thread, which bounds the memory


def mapped(work: Callable[[Item], Result], items: Iterable[Item], done: Callable[[int], None]) -> Iterator[Result]:
    """The results in order; ``done`` is told how many there are."""
    threads = max(1, min(8, os.cpu_count() or 1))
    waiting: deque[Future[Result]] = deque()
    finished = 0
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads * AHEAD:
                yield waiting.popleft().result()
                finished += 1
                done(finished)
        while waiting:
            yield waiting.popleft().result()
            finished += 1
            done(finished)
