"""Threads that ask the model: requests that wait go through it side by side, and on a GPU in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from bcdseg.infer.graph_runtime import MOST_WORKERS, cores
from bcdseg.infer.one_core import kept_threads
from bcdseg.infer.parity import drawn_scans
from bcdseg.infer.prediction import Failure, Prediction
from bcdseg.infer.torch_runtime import GPU_WORKERS
from bcdseg.model.model import Model
from bcdseg.serve.shield import log_unforeseen

GPU_BATCH = 16
WARMING, READY, FAILED, STOPPING = "warming", "ready", "failed", "stopping"


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One request.

    Attributes:
        source: Makes the scan; called in a lane, since looking into a file takes time.
        options: Of ``Model.predict``.
        encode: Makes the answer's bytes of the prediction.
        given_up: Set when nobody waits for it any more; a lane that comes to it then drops it.
        future: Where the bytes, or what was wrong, come out; done only when the job has left the lanes.
    """

    source: Callable[[], Any]
    options: Mapping[str, Any]
    encode: Callable[[Prediction], bytes]
    given_up: threading.Event = field(default_factory=threading.Event)
    future: Future[bytes] = field(default_factory=Future)


class Lanes:
    """Each lane takes what waits and asks ``model.predict`` for it, as a stream of its own.

    On a CPU a lane takes one scan and computes on one core: as many lanes as cores are faster than one scan on all cores. On a
    GPU it takes up to sixteen with the same options. It never waits for a batch to fill.
    """

    def __init__(self, model: Model) -> None:
        on_cpu = model.device == "cpu"
        self.model = model
        self.state = WARMING
        self._batch = 1 if on_cpu else GPU_BATCH
        self._count = min(MOST_WORKERS, cores()) if on_cpu else GPU_WORKERS
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._warm_and_run, name="bcdseg-lane-1")]

    def start(self) -> None:
        """Make the model ready in the background, then take jobs."""
        self._threads[0].start()

    def put(self, job: Job) -> None:
        """Have a job done."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def stop(self) -> None:
        """Finish what waits, then end the threads."""
        with self._changed:
            self.state = STOPPING
            self._changed.notify_all()
        for thread in list(self._threads):
            thread.join()

    def _warm_and_run(self) -> None:
        try:  # as a stream and not alone, which some runtimes make ready apart
            list(self.model.predict(drawn_scans()[:1]))
        except BaseException as error:
            log_unforeseen(error)
            self.state = FAILED
            return
        others = [threading.Thread(target=self._run, name=f"bcdseg-lane-{number}") for number in range(2, self._count + 1)]
        with self._changed:
            if self.state == STOPPING:
                return
            self._threads += others
            for thread in others:
                thread.start()
            self.state = READY
        self._run()

    def _run(self) -> None:
        with kept_threads():
            while (jobs := self._take()) or self.state != STOPPING:
                self._predict([(job, source) for job in jobs if (source := _opened(job)) is not None])

    def _take(self) -> list[Job]:
        """The next job and those behind it with the same options, up to a batch; none when what waited was given up."""
        taken: list[Job] = []
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.state == STOPPING)
            while self._waiting and len(taken) < self._batch:
                if taken and self._waiting[0].options != taken[0].options:
                    break
                job = self._waiting.popleft()
                if job.given_up.is_set():
                    job.future.cancel()
                else:
                    taken.append(job)
        return taken

    def _predict(self, opened: list[tuple[Job, Any]]) -> None:
        if not opened:
            return
        (first, _), sources = opened[0], [source for _, source in opened]
        try:
            results = list(self.model.predict(sources, on_error="keep", batch_size=len(sources), **first.options))
        except BaseException as error:
            if len(opened) == 1:
                first.future.set_exception(error)
            for alone in opened if len(opened) > 1 else ():  # what is wrong with one scan is not the others'
                self._predict([alone])
            return
        for (job, _), result in zip(opened, results, strict=True):
            _finish(job, result)


def _opened(job: Job) -> Any:
    try:
        return job.source()
    except BaseException as error:
        job.future.set_exception(error)
        return None


def _finish(job: Job, result: Prediction | Failure) -> None:
    try:
        if isinstance(result, Failure):
            raise result.error
        job.future.set_result(job.encode(result))
    except BaseException as error:
        job.future.set_exception(error)
