"""Worker threads that run the model, in batches on a GPU, and their queue."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bcdseg.data.reader_process import Upload, Wanted
from bcdseg.inference.prediction import Prediction
from bcdseg.model.model import Model
from bcdseg.runtimes.agreement import synthetic_scans
from bcdseg.runtimes.cpu_threads import reuse_threads
from bcdseg.runtimes.graph import MOST_WORKERS, cores
from bcdseg.runtimes.torch_runtime import GPU_WORKERS
from bcdseg.serve.access_log import log_unexpected
from bcdseg.types import Failure

Item = TypeVar("Item")
GPU_BATCH = 16
WARMING, READY, BUSY, FAILED, STOPPING = "warming", "ready", "busy", "failed", "stopping"
Encode = Callable[[Prediction, Any], bytes]


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


@dataclass(kw_only=True, eq=False)
class Job:
    """Request in the queue.

    Attributes:
        content: The file, until it is decoded.
        wanted: Which part of the file is decoded, and its limits.
        options: Options of ``Model.predict``.
        encode: Function from the prediction and the reference for DICOM output to the response body.
        given_up: Event that is set when the client is gone; the job is then dropped where it waits.
        future: Future of the response body or the error; it is done only when the job is decoded and computed, or dropped.
    """

    content: bytes
    wanted: Wanted
    options: Mapping[str, Any]
    encode: Encode
    given_up: threading.Event = field(default_factory=threading.Event)
    future: Future[bytes] = field(default_factory=Future)

    def take_content(self) -> bytes:
        """Return the file and release it."""
        content, self.content = self.content, b""
        return content


class Workers(QueueThreads[tuple[Job, Upload]]):
    """Worker threads: each takes waiting scans and runs ``model.predict`` on them, as a stream of its own.

    On a CPU a worker takes one scan and computes on one core: as many workers as cores are faster than one scan on all cores. On a
    GPU it takes up to sixteen with the same options. It never waits for a batch to fill.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        on_cpu = model.device == "cpu"
        self.model = model
        self._state = WARMING
        self._batch = 1 if on_cpu else GPU_BATCH
        self._count = min(MOST_WORKERS, cores()) if on_cpu else GPU_WORKERS
        self._started: dict[int, float] = {}

    @property
    def state(self) -> str:
        """State of the model: warming, ready, failed or stopping."""
        return STOPPING if self.stopping else self._state

    def start(self) -> None:
        """Warm up the model in the background, then process jobs."""
        self.start_thread(self._warm_and_run, "bcdseg-worker-1")

    def put(self, job: Job, upload: Upload) -> None:
        """Enqueue a scan; this blocks while a batch of scans waits already, which bounds the memory."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.waiting) < self._batch or self.stopping)
            self.waiting.append((job, upload))
            self.changed.notify_all()

    def overdue(self, seconds: float) -> bool:
        """Return whether all workers have been computing for longer than a time."""
        latest = time.monotonic() - seconds
        started = list(self._started.values())
        return len(started) >= self._count and max(started) < latest

    def _warm_and_run(self) -> None:
        try:  # as a stream like the requests, because some runtimes prepare single scans separately
            list(self.model.predict(synthetic_scans()[:1]))
        except BaseException as error:
            log_unexpected(error)
            self._state = FAILED
            return
        with self.changed:
            if self.stopping:
                return
            for number in range(2, self._count + 1):
                self.start_thread(self._run, f"bcdseg-worker-{number}")
            self._state = READY
        self._run()

    def _run(self) -> None:
        with reuse_threads():
            while (taken := self._take()) or not self.stopping:
                self._started[threading.get_ident()] = time.monotonic()
                try:
                    self._predict(taken)
                finally:
                    del self._started[threading.get_ident()]

    def _take(self) -> list[tuple[Job, Upload]]:
        """Return the next scan and those behind it with the same options, up to a batch; none when all that waited were dropped."""
        taken: list[tuple[Job, Upload]] = []
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.stopping)
            while self.waiting and len(taken) < self._batch:
                if taken and self.waiting[0][0].options != taken[0][0].options:
                    break
                job, upload = self.waiting.popleft()
                if job.given_up.is_set():
                    job.future.cancel()
                else:
                    taken.append((job, upload))
            self.changed.notify_all()
        return taken

    def _predict(self, taken: list[tuple[Job, Upload]]) -> None:
        if not taken:
            return
        (first, _), scans = taken[0], [upload.scan for _, upload in taken]
        try:
            results = list(self.model.predict(scans, on_error="keep", batch_size=len(scans), **first.options))
        except BaseException as error:
            if len(taken) == 1:
                first.future.set_exception(error)
            for alone in taken if len(taken) > 1 else ():  # an error of one scan must not affect the others
                self._predict([alone])
            return
        for (job, upload), result in zip(taken, results, strict=True):
            _finish(job, upload, result)


def _finish(job: Job, upload: Upload, result: Prediction | Failure) -> None:
    try:
        if isinstance(result, Failure):
            raise result.error
        job.future.set_result(job.encode(result, upload.reference))
    except BaseException as error:
        job.future.set_exception(error)
