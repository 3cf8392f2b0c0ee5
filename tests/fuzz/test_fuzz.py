"""Mutated files for FUZZ_SECONDS: 3 s for each reader by default, as `make fuzz` runs for longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzz.__main__ import NAMES
from fuzz.loop import run
from fuzz.targets import TARGETS

SECONDS = float(os.environ.get("FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    report = run(name, SECONDS, SEED, tmp_path)
    print(f"{name}: {report}")
    assert report.read + report.refused > 0
    assert not report.failures, report


def test_each_target_can_be_named_on_the_command_line() -> None:
    assert tuple(TARGETS) == NAMES
