"""Workers for tests of Ray: one whose process dies on files of a certain name, and one that tests can follow and hold back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import bcdseg
from bcdseg.batch.worker import Worker, WorkerJob, WorkerOptions, WorkerResult


class Fragile(Worker):
    def predict(self, jobs: Sequence[WorkerJob]) -> list[WorkerResult]:
        if any("poison" in job.file for job in jobs):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(jobs)


class Noted(Worker):
    """Worker that writes its node before each task, and may delay its tasks.

    It waits while the folder contains a file ``hold NODE``. After its second task it also waits for another node to write, if the
    folder contains ``wait for another``.
    """

    def __init__(self, model: bcdseg.Model, options: WorkerOptions, folder: str) -> None:
        import ray  # a process that tests the library sets Ray's variables before it imports it

        super().__init__(model, options)
        self._folder, self._tasks = Path(folder), 0
        self._node = ray.get_runtime_context().get_node_id()

    def predict(self, jobs: Sequence[WorkerJob]) -> list[WorkerResult]:
        (self._folder / f"node {self._node}").touch()
        self._tasks += 1
        end = time.monotonic() + 240
        while self._must_wait() and time.monotonic() < end:
            time.sleep(0.02)
        return super().predict(jobs)

    def _must_wait(self) -> bool:
        if (self._folder / f"hold {self._node}").exists():
            return True
        alone = len(list(self._folder.glob("node *"))) == 1
        return alone and self._tasks > 2 and (self._folder / "wait for another").exists()
