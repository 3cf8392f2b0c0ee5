"""A worker whose process dies on files of a certain name."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from bcdseg.batch.worker import Worker, WorkerJob, WorkerResult


class Fragile(Worker):
    def predict(self, jobs: Sequence[WorkerJob]) -> list[WorkerResult]:
        if any("poison" in job.file for job in jobs):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(jobs)
