"""Saves that are killed at random moments: CHAOS_KILLS of them, or 2. `benchmarks/chaos.py` kills other work too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "chaos.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="work is killed in forked processes")
def test_killed_saves_leave_whole_files_and_end_like_those_that_were_not_killed() -> None:
    command = [sys.executable, PROGRAM, "--only", "save", "--kills", os.environ.get("CHAOS_KILLS", "2")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
