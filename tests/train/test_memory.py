"""Memory that is freed while training stays with the process."""

from __future__ import annotations

import platform
import resource

import numpy as np
import pytest

from bcdseg.train.loop.memory import freed_memory_kept

BLOCK = 64 << 20


def fresh_pages() -> int:
    """Pages that the system had to give while large blocks came and went."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(BLOCK, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries manage memory in their own ways")
def test_blocks_that_come_and_go_cost_no_fresh_pages_while_training_and_as_many_as_ever_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    usual = fresh_pages()
    with freed_memory_kept():
        fresh_pages()
        assert fresh_pages() < usual / 10
    assert fresh_pages() > usual / 2
