"""Dispatch of files to workers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bcdseg.batch.worker import WorkerJob, WorkerResult, failed_result
from bcdseg.errors import ClusterError, ImageError
from bcdseg.types import Failure

TRIES = 3
AHEAD = 2  # tasks submitted to a worker in advance, so that it never waits for the next one
TASKS = 8  # the files that are left are divided into this many tasks per worker, so that none waits long for the last task
CHECK = 5.0  # seconds between checks of the size of the cluster
PATIENCE = 300.0  # seconds without any worker after which the run ends


@dataclass(frozen=True)
class FileTask:
    """Files that are submitted to a worker together, and the number of earlier tries."""

    jobs: tuple[WorkerJob, ...]
    tries: int = 0


class Dispatch:
    """Dispatcher of files to workers.

    A worker gets files when it has started. So a cluster without resources for a worker, because a node was lost or other programs
    use it, delays no file; and workers are added while there are resources for more.

    A file that could not be read, and those of a worker that died, are tried again at the end, each alone, so that one that kills
    its worker affects no other file. After three tries the file's result is a failure with the reason.
    """

    def __init__(
        self, ray: Any, start: Callable[[], Any], *, workers: Callable[[], int], together: int, classes: Sequence[str]
    ) -> None:
        """Create a dispatcher.

        Args:
            ray: The connected Ray.
            start: Function that starts a worker.
            workers: Function that returns the number of workers that there should be now.
            together: Largest number of files per task.
            classes: Classes of the model.
        """
        self._ray, self._start, self._workers, self._together, self._classes = ray, start, workers, together, classes
        self._in_hand: dict[Any, int] = {}
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[Any, FileTask]] = {}
        self._checked = self._alive = float("-inf")

    def results(self, jobs: Sequence[WorkerJob]) -> Iterator[WorkerResult]:
        """Yield a result for each file, in the order of completion."""
        first, again = deque(jobs), deque[FileTask]()
        self._alive = time.monotonic()
        while first or again or self._running:
            self._add_workers()
            self._hand_out(first, again)
            done = self._wait()
            if done in self._starting:
                self._note_start(done)
            elif done is not None:
                worker, task = self._running.pop(done)
                for job, result in self._taken(done, worker, task):
                    if result.record.whole or task.tries + 1 == TRIES:
                        yield result
                    else:
                        again.append(FileTask((job,), task.tries + 1))

    def stop(self) -> None:
        """Kill the workers."""
        for worker in (*self._in_hand, *self._starting.values()):
            self._ray.kill(worker)

    def _add_workers(self) -> None:
        if time.monotonic() < self._checked + CHECK:
            return
        self._checked = time.monotonic()
        for _ in range(self._workers() - len(self._in_hand) - len(self._starting)):
            worker = self._start()
            self._starting[worker.__ray_ready__.remote()] = worker

    def _hand_out(self, first: deque[WorkerJob], again: deque[FileTask]) -> None:
        for depth in range(1, AHEAD + 1):
            for worker, count in self._in_hand.items():
                if first and count < depth:
                    size = max(1, min(self._together, len(first) // (len(self._in_hand) * TASKS)))
                    self._submit(worker, FileTask(tuple(first.popleft() for _ in range(size))))
                elif again and not first and not self._in_hand[worker]:
                    self._submit(worker, again.popleft())

    def _submit(self, worker: Any, task: FileTask) -> None:
        self._running[worker.predict.remote(task.jobs)] = worker, task
        self._in_hand[worker] += 1

    def _wait(self) -> Any:
        """Return a finished task or a worker's start; None if there is none for a while."""
        awaited = [*self._running, *self._starting]
        if awaited:
            done, _ = self._ray.wait(awaited, num_returns=1, timeout=CHECK)
        else:
            done = []
            time.sleep(CHECK)
        if self._in_hand:
            self._alive = time.monotonic()
        elif time.monotonic() > self._alive + PATIENCE:
            raise ClusterError(
                f"No worker could start for {PATIENCE:.0f} s: the cluster has no free cores, or lost its nodes. "
                "Resume the run when it has some (--resume)."
            )
        return done[0] if done else None

    def _note_start(self, started: Any) -> None:
        worker = self._starting.pop(started)
        try:
            self._ray.get(started)
        except self._ray.exceptions.RayError as error:
            self._drop(worker, error)
        else:
            self._in_hand[worker] = 0

    def _taken(self, done: Any, worker: Any, task: FileTask) -> Iterator[tuple[WorkerJob, WorkerResult]]:
        """Yield the result of each file of a task."""
        errors = self._ray.exceptions
        if worker in self._in_hand:
            self._in_hand[worker] -= 1
        try:
            found = {result.record.file: result for result in self._ray.get(done)}
        except errors.RayError as error:
            if isinstance(error, errors.RayActorError):
                self._drop(worker, error)
            why = f"its worker failed ({_last_line(error)})."
            lost = [Failure(job.file, ImageError(f"{job.file}: {why}")) for job in task.jobs]
            found = {failure.source: failed_result(failure, self._classes) for failure in lost}
        for job in task.jobs:
            yield job, found[job.file]

    def _drop(self, worker: Any, error: Any) -> None:
        """Forget a worker that died. Another one replaces it immediately."""
        if getattr(error, "actor_init_failed", False):
            raise ClusterError(f"Workers can't start: {_last_line(error)}") from error
        self._in_hand.pop(worker, None)
        self._ray.kill(worker)
        self._checked = float("-inf")


def _last_line(error: Exception) -> str:
    """Return the last line of the traceback that Ray uses as the message."""
    return str(error).strip().splitlines()[-1]
