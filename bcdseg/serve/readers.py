"""Parallel decoding of uploads, each in a process of its own, before the worker threads predict them."""

from __future__ import annotations

from functools import partial

from bcdseg.data.reader_process import ReaderProcess, Upload
from bcdseg.runtimes.graph import cores
from bcdseg.serve.access_log import log_unexpected
from bcdseg.serve.limits import Limits
from bcdseg.serve.workers import Job, Workers
from bcdseg.web.threads import QueueThreads

LEAST, MOST = 2, 8  # processes: at least two, so that one slow upload never blocks all others


class Readers(QueueThreads[Job]):
    """Threads that each decode one upload after the other in their own process.

    A process that takes longer than ``limits.read_timeout`` is ended and replaced, so that a file that crashes or stalls a decoder
    affects one process, and never the server.
    """

    def __init__(self, workers: Workers, limits: Limits) -> None:
        super().__init__()
        self._workers = workers
        self._processes = [ReaderProcess(limits.read_timeout, limits.pixels) for _ in range(max(LEAST, min(MOST, cores())))]

    @property
    def running(self) -> bool:
        """Whether any process can decode."""
        return any(process.running for process in self._processes)

    def start(self) -> None:
        """Start the processes, in the background."""
        for number, process in enumerate(self._processes, 1):
            self.start_thread(partial(self._run, process), f"bcdseg-reader-{number}")

    def put(self, job: Job) -> None:
        """Enqueue an upload to be decoded and predicted."""
        with self.changed:
            self.waiting.append(job)
            self.changed.notify()

    def stop(self, seconds: float) -> bool:
        """Decode the waiting uploads, then end the threads and their processes; what takes longer is dropped."""
        in_time = super().stop(seconds)
        for process in self._processes:
            process.stop()
        return in_time

    def _run(self, process: ReaderProcess) -> None:
        self._start(process)
        while (job := self._take()) is not None:
            if (upload := _read(process, job)) is not None:
                self._workers.put(job, upload)
            del job, upload
            self._start(process)  # before the next upload arrives
        process.stop()

    def _start(self, process: ReaderProcess) -> None:
        try:
            if not self.stopping:
                process.start()
        except BaseException as error:
            log_unexpected(error)  # the next upload tries again

    def _take(self) -> Job | None:
        """Return the next upload whose client still waits; None at shutdown."""
        with self.changed:
            while True:
                self.changed.wait_for(lambda: self.waiting or self.stopping)
                if not self.waiting:
                    return None
                job = self.waiting.popleft()
                if not job.given_up.is_set():
                    return job
                job.future.cancel()


def _read(process: ReaderProcess, job: Job) -> Upload | None:
    try:
        return process.read(job.take_content(), job.wanted)
    except BaseException as error:
        job.future.set_exception(error)
        return None
