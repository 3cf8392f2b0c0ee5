"""Reader processes that several threads share."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue

from bcdseg.data.reader_process import BusyError, ReaderProcess, Upload, Wanted

SPARE = 1  # processes that wait for the end of another one, so that no upload waits for the start of its replacement
LOG = logging.getLogger("bcdseg.readers")


class ReaderPool:
    """Reader processes: each reads one upload at a time, and one is spare.

    A process that an upload has ended is started again in the background.

    Args:
        count: Number of threads that read uploads.
        seconds: Limit of the processor time for an upload.
        passing: Limit of the time that passes until an upload is read.
        most_pixels: Number of pixels of the largest scan.
    """

    def __init__(self, count: int, *, seconds: float, passing: float, most_pixels: int) -> None:
        self._processes = [ReaderProcess(seconds, most_pixels, passing=passing) for _ in range(count + SPARE)]
        self._free: SimpleQueue[ReaderProcess] = SimpleQueue()
        self._ended: SimpleQueue[ReaderProcess | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = self._stopped = False

    @property
    def running(self) -> int:
        """Number of processes that can read."""
        return sum(process.running for process in self._processes)

    def start(self) -> None:
        """Start the processes one after the other in the background, unless they have been started before."""
        with self._lock:
            if self._started or self._stopped:
                return
            self._started = True
        for process in self._processes:
            self._ended.put(process)
        threading.Thread(target=self._start_ended, name="bcdseg-reader-starts", daemon=True).start()

    def read(self, content: bytes, wanted: Wanted, *, seconds: float | None = None, is_urgent: bool = True) -> Upload:
        """Read an upload in a process that is free, or wait for one; arguments and errors are those of ``ReaderProcess.read``."""
        self.start()
        process = self._free.get()
        try:
            if self._stopped:
                raise BusyError(f"{wanted.name}: was not read, since the server is stopping.")
            return process.read(content, wanted, seconds=seconds, is_urgent=is_urgent)
        finally:
            (self._free if process.running or self._stopped else self._ended).put(process)

    def stop(self) -> None:
        """End the processes; threads that wait for one get an error."""
        with self._lock:
            self._stopped = True
        self._ended.put(None)
        for process in self._processes:
            process.stop()
            self._free.put(process)

    def _start_ended(self) -> None:
        while (process := self._ended.get()) is not None and not self._stopped:
            try:
                process.start()
            except Exception as error:  # the next upload tries again, and gets the error
                LOG.error("a process that reads uploads does not start (%s)", type(error).__name__)
            if self._stopped:
                process.stop()
            self._free.put(process)
