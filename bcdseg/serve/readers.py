"""Parallel decoding of uploads, each in a process of its own, before the worker threads predict them."""

from __future__ import annotations

import threading
import time
from collections import deque

from bcdseg.data.reader_process import ReaderProcess, Upload
from bcdseg.runtimes.graph import cores
from bcdseg.serve.access_log import log_unforeseen
from bcdseg.serve.limits import Limits
from bcdseg.serve.workers import Job, Lanes

LEAST, MOST = 2, 8  # processes: at least two, so that one slow upload never blocks all others


class Readers:
    """Threads that each decode one upload after the other in their own process.

    A process that takes longer than ``limits.read_timeout`` is ended and replaced, so that a file that crashes or stalls a decoder
    affects one process, and never the server.
    """

    def __init__(self, lanes: Lanes, limits: Limits) -> None:
        self._lanes = lanes
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._processes = [ReaderProcess(limits.read_timeout, limits.pixels) for _ in range(max(LEAST, min(MOST, cores())))]
        self._threads = [
            threading.Thread(target=self._run, args=(process,), name=f"bcdseg-reader-{number}", daemon=True)
            for number, process in enumerate(self._processes, 1)
        ]

    @property
    def running(self) -> bool:
        """Whether any process can decode."""
        return any(process.running for process in self._processes)

    def start(self) -> None:
        """Start the processes, in the background."""
        for thread in self._threads:
            thread.start()

    def put(self, job: Job) -> None:
        """Enqueue an upload to be decoded and predicted."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def stop(self, seconds: float) -> bool:
        """Decode the waiting uploads, then end the threads and their processes; what takes longer is dropped.

        Returns:
            Whether all were decoded in time.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for process in self._processes:
            process.stop()
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, process: ReaderProcess) -> None:
        self._start(process)
        while (job := self._take()) is not None:
            if (upload := _read(process, job)) is not None:
                self._lanes.put(job, upload)
            del job, upload
            self._start(process)  # before the next upload arrives
        process.stop()

    def _start(self, process: ReaderProcess) -> None:
        try:
            if not self._stopping:
                process.start()
        except BaseException as error:
            log_unforeseen(error)  # the next upload tries again

    def _take(self) -> Job | None:
        """Return the next upload whose client still waits; None at shutdown."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return None
                job = self._waiting.popleft()
                if not job.given_up.is_set():
                    return job
                job.future.cancel()


def _read(process: ReaderProcess, job: Job) -> Upload | None:
    try:
        return process.read(job.take_content(), job.wanted)
    except BaseException as error:
        job.future.set_exception(error)
        return None
