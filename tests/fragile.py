"""A worker whose process dies on files of a certain name: some once, some always."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from bcdseg.archive.worker import Answer, Job, Worker


class Fragile(Worker):
    def answer(self, jobs: Sequence[Job]) -> list[Answer]:
        for job in jobs:
            died = Path(f"{job.file}.died")
            if "poison" in job.file or ("once" in job.file and not died.exists()):
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(jobs)
