"""Time of a newcomer's first steps: the commands of README after the installation, in new processes with an empty cache.

    python benchmarks/first_steps.py

The commands and the lines are read from README.md. Goal: from the first command to the last result in less than three minutes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL = 180


def steps() -> list[tuple[str, list[str]]]:
    """Return what is run: the commands of bcdseg in README, then its first block of Python."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", readme, re.DOTALL))
    commands = [line for line in shell.splitlines() if line.startswith("bcdseg ")]
    block = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    run = "import sys; sys.argv = sys.argv[1:]; from bcdseg.cli import main; main()"
    return [(line, ["-c", run, *shlex.split(line, comments=True)]) for line in commands] + [
        ("its first lines of Python", ["-c", block])
    ]


def main() -> int:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").symlink_to(ROOT / "data")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        fresh = {**os.environ, "BCDSEG_CACHE": str(Path(folder) / "cache"), "PYTHONPATH": path}
        print("| README | seconds |\n|---|---|")
        for name, arguments in steps():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=folder, env=fresh, check=True, stdout=subprocess.DEVNULL)
            print(f"| `{name}` | {time.perf_counter() - start:.1f} |")
        made = len(list(Path(folder).rglob("*_mask.png"))), (Path(folder) / "outlined.png").is_file()
    total = time.perf_counter() - started
    print(f"| **all** | **{total:.1f}** (goal: less than {GOAL}) |\n\n{made[0]} masks written, overlay saved: {made[1]}")
    return int(total >= GOAL or not all(made))


if __name__ == "__main__":
    sys.exit(main())
