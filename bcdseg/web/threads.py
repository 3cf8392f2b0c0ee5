"""Threads that take work from a queue, until they are stopped."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class QueueThreads(Generic[Item]):
    """Threads with the queue that they take from.

    Attributes:
        waiting: The queue.
        changed: Condition that is notified when the queue changed or the threads are to end.
        stopping: Whether the threads are to end once the queue is empty.
    """

    def __init__(self) -> None:
        self.waiting: deque[Item] = deque()
        self.changed = threading.Condition()
        self.stopping = False
        self._threads: list[threading.Thread] = []

    def start_thread(self, target: Callable[[], None], name: str) -> None:
        """Start a thread that does not keep the process alive."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, seconds: float) -> bool:
        """Finish the waiting work, then end the threads; what takes longer is dropped.

        Returns:
            Whether all was finished in time.
        """
        until = time.monotonic() + seconds
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        for thread in list(self._threads):
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
