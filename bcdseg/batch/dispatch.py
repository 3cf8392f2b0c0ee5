"""Dispatch of files to workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bcdseg.batch.worker import WorkerJob, WorkerResult, failed_result
from bcdseg.errors import ClusterError, ImageError
from bcdseg.types import Failure

TRIES = 3
AHEAD = 2  # tasks submitted to a worker at once, so that it never waits for the next one


@dataclass(frozen=True)
class FileTask:
    """Files that are submitted to a worker together, and the number of earlier tries."""

    jobs: tuple[WorkerJob, ...]
    tries: int = 0


class Dispatch:
    """Dispatcher of files to workers.

    A file that could not be read, and those of a worker that died, are tried again at the end, each alone, so that one that kills
    its worker affects no other file. After three tries the file's result is a failure with the reason.
    """

    def __init__(self, ray: Any, start: Callable[[], Any], *, workers: int, together: int, classes: Sequence[str]) -> None:
        self._ray, self._start, self._together, self._classes = ray, start, together, classes
        self._in_hand: dict[Any, int] = {start(): 0 for _ in range(workers)}
        self._running: dict[Any, tuple[Any, FileTask]] = {}

    def results(self, jobs: Sequence[WorkerJob]) -> Iterator[WorkerResult]:
        """Yield a result for each file, in the order of completion."""
        first = deque(FileTask(tuple(jobs[at : at + self._together])) for at in range(0, len(jobs), self._together))
        again: deque[FileTask] = deque()
        while first or again or self._running:
            self._hand_out(first, again)
            [done], _ = self._ray.wait(list(self._running), num_returns=1)
            worker, task = self._running.pop(done)
            for job, result in self._taken(done, worker, task):
                if result.record.whole or task.tries + 1 == TRIES:
                    yield result
                else:
                    again.append(FileTask((job,), task.tries + 1))

    def stop(self) -> None:
        """Kill the workers."""
        for worker in self._in_hand:
            self._ray.kill(worker)

    def _hand_out(self, first: deque[FileTask], again: deque[FileTask]) -> None:
        for worker in self._in_hand:
            while first and self._in_hand[worker] < AHEAD:
                self._submit(worker, first.popleft())
            if again and not first and not self._in_hand[worker]:
                self._submit(worker, again.popleft())

    def _submit(self, worker: Any, task: FileTask) -> None:
        self._running[worker.predict.remote(task.jobs)] = worker, task
        self._in_hand[worker] += 1

    def _taken(self, done: Any, worker: Any, task: FileTask) -> Iterator[tuple[WorkerJob, WorkerResult]]:
        """Yield the result of each file of a task."""
        errors = self._ray.exceptions
        if worker in self._in_hand:
            self._in_hand[worker] -= 1
        try:
            found = {result.record.file: result for result in self._ray.get(done)}
        except errors.RayError as error:
            if isinstance(error, errors.RayActorError):
                self._replace(worker, error)
            why = f"its worker failed ({_last_line(error)})."
            lost = [Failure(job.file, ImageError(f"{job.file}: {why}")) for job in task.jobs]
            found = {failure.source: failed_result(failure, self._classes) for failure in lost}
        for job in task.jobs:
            yield job, found[job.file]

    def _replace(self, worker: Any, error: Any) -> None:
        if getattr(error, "actor_init_failed", False):
            raise ClusterError(f"Workers can't start: {_last_line(error)}") from error
        if self._in_hand.pop(worker, None) is not None:
            self._ray.kill(worker)
            self._in_hand[self._start()] = 0


def _last_line(error: Exception) -> str:
    """Return the last line of the traceback that Ray uses as the message."""
    return str(error).strip().splitlines()[-1]
