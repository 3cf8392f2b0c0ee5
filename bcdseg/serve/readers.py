"""Parallel decoding of uploads, each in a process of its own, before the worker threads predict them."""

from __future__ import annotations

from collections import deque
from functools import partial

from bcdseg.data.reader_process import SlowFileError, Upload
from bcdseg.runtimes.graph import cores
from bcdseg.serve.limits import Limits
from bcdseg.serve.workers import Job, QueueThreads, Workers
from bcdseg.web.reader_pool import ReaderPool

LEAST, MOST = 2, 8  # threads: at least two, so that one slow upload never blocks all others
SHORT = 1.0  # seconds of processor time after which an upload counts as slow; few files need a tenth of it


class Readers(QueueThreads[Job]):
    """Threads that each decode one upload after the other, in a process.

    An upload that is not decoded after a short time is decoded again, with a lower priority, by one half of the threads. So files
    that are made to cost much delay each other, and others little. What needs more than ``limits.read_timeout`` is refused.
    """

    def __init__(self, workers: Workers, limits: Limits) -> None:
        super().__init__()
        self._workers = workers
        self._slow: deque[Job] = deque()
        self._count = max(LEAST, min(MOST, cores()))
        time = {"seconds": limits.read_timeout, "passing": limits.timeout}
        self._pool = ReaderPool(self._count, **time, most_pixels=limits.pixels)

    @property
    def running(self) -> bool:
        """Whether any process can decode."""
        return self._pool.running > 0

    def start(self) -> None:
        """Start threads and processes, in the background."""
        self._pool.start()
        for number in range(self._count):
            self.start_thread(partial(self._run, slow_first=number < self._count // 2), f"bcdseg-reader-{number + 1}")

    def put(self, job: Job) -> None:
        """Enqueue an upload to be decoded and predicted."""
        with self.changed:
            self.waiting.append(job)
            self.changed.notify_all()

    def stop(self, seconds: float) -> bool:
        """Decode the waiting uploads, then end the threads and their processes; what takes longer is dropped."""
        in_time = super().stop(seconds)
        self._pool.stop()
        return in_time

    def _run(self, *, slow_first: bool) -> None:
        while (taken := self._take(slow_first)) is not None:
            job, is_slow = taken
            if (upload := self._read(job, is_slow)) is not None:
                self._workers.put(job, upload)
            del taken, job, upload

    def _take(self, slow_first: bool) -> tuple[Job, bool] | None:
        """Return the next upload whose client still waits, and whether it is a slow one; None at shutdown."""
        with self.changed:
            while True:
                self.changed.wait_for(lambda: self.waiting or (slow_first and self._slow) or self.stopping)
                _drop_given_up(self.waiting)
                _drop_given_up(self._slow)
                if slow_first and self._slow:
                    return self._slow.popleft(), True
                if self.waiting:
                    return self.waiting.popleft(), False
                if self.stopping:
                    return None

    def _read(self, job: Job, is_slow: bool) -> Upload | None:
        content = job.take_content()
        try:
            return self._pool.read(content, job.wanted, seconds=None if is_slow else SHORT, is_urgent=not is_slow)
        except SlowFileError as error:
            if is_slow or self.stopping:
                job.future.set_exception(error)
            else:
                self._put_slow(job, content)
        except BaseException as error:
            job.future.set_exception(error)
        return None

    def _put_slow(self, job: Job, content: bytes) -> None:
        with self.changed:
            job.content = content
            self._slow.append(job)
            self.changed.notify_all()


def _drop_given_up(jobs: deque[Job]) -> None:
    """Remove the jobs whose client is gone, which frees their slots."""
    for job in [job for job in jobs if job.given_up.is_set()]:
        jobs.remove(job)
        job.future.cancel()
