"""A worker whose process dies on files of a certain name."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from bcdseg.batch.worker import Answer, Job, Worker


class Fragile(Worker):
    def answer(self, jobs: Sequence[Job]) -> list[Answer]:
        if any("poison" in job.file for job in jobs):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(jobs)
