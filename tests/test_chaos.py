"""Work that is killed at random moments, CHAOS_KILLS times or twice, or that lacks disk space, rights or memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("CHAOS_KILLS", "2"))
PROGRAM = Path(__file__).parents[1] / "benchmarks" / "chaos.py"
WORKS = (("predict", "train", "save", "corrections"), ("evaluate", "audit", "export", "fit-site"))  # a process for each


@pytest.mark.slow
@pytest.mark.timeout(600 + 300 * KILLS)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="work is forked, and its memory is read as Linux states it")
@pytest.mark.parametrize("works", WORKS, ids="+".join)
def test_interrupted_work_leaves_whole_files_and_ends_like_work_that_was_not(works: tuple[str, ...]) -> None:
    command = [sys.executable, PROGRAM, "--only", *works, "--kills", KILLS, "--memory-limits", 1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
