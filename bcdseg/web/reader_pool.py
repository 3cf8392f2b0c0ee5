"""Reader processes that several threads share."""

from __future__ import annotations

from queue import SimpleQueue

from bcdseg.data.reader_process import ReaderProcess, Upload, Wanted


class ReaderPool:
    """Reader processes, each of which reads one upload at a time; they start when they are first used.

    Args:
        count: Number of processes.
        seconds: Time limit for an upload.
        most_pixels: Number of pixels of the largest scan.
    """

    def __init__(self, count: int, *, seconds: float, most_pixels: int) -> None:
        self._processes = [ReaderProcess(seconds, most_pixels) for _ in range(count)]
        self._free: SimpleQueue[ReaderProcess] = SimpleQueue()
        for process in self._processes:
            self._free.put(process)

    def read(self, content: bytes, wanted: Wanted) -> Upload:
        """Read an upload in a process that is free, or wait for one; the errors of ``read_upload`` are raised here."""
        process = self._free.get()
        try:
            return process.read(content, wanted)
        finally:
            self._free.put(process)

    def stop(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.stop()
