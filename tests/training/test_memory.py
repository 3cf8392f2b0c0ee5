"""Memory that is freed during training stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own: what other tests left in the heap would be used again first.
PROGRAM = """
import resource
from pathlib import Path
import numpy as np
from bcdseg.training.loop.processes import keep_freed_memory

BLOCK = 64 << 20

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def kept_of_a_freed_block():
    before = resident()
    np.ones(BLOCK, np.uint8)
    return resident() - before

assert kept_of_a_freed_block() < BLOCK / 2
start = resident()
with keep_freed_memory():
    assert kept_of_a_freed_block() > BLOCK / 2
    assert kept_of_a_freed_block() < BLOCK / 2  # the same block again
assert resident() - start < BLOCK / 2
assert kept_of_a_freed_block() < BLOCK / 2
"""


@pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="other libraries manage memory in their own ways"
)
def test_freed_blocks_stay_while_training_and_are_given_back_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
