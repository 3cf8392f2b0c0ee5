"""Run of an example that imports neither torch nor the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BANNED = ("torch", "bcdseg")


def run_without(example: Path, *arguments: Path) -> list[str]:
    """Return the lines that a script prints, and check that it has imported neither."""
    argv = ["", *map(str, arguments)]
    code = (
        f"import runpy, sys; sys.argv = {argv!r}; runpy.run_path({str(example)!r});"
        f"print([name for name in {BANNED!r} if name in sys.modules])"
    )
    *lines, imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert imported == "[]"
    return lines
