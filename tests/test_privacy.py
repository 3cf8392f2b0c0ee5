"""Nothing leaves the machine, and nothing that identifies it is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openvino_telemetry")

TESTS = Path(__file__).parent
OURS = {"bcdseg", "matplotlib"}  # our documented cache, and matplotlib's list of the machine's fonts
ALL = ["openvino", "int8", "fit", "evaluate", "small.onnx", "small.xml", "app", "serve"]


def _python(home: Path, *arguments: str, **variables: str) -> str:
    """Return the output of a Python process with an empty home, without the variables of this process."""
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    surroundings = {**kept, "HOME": str(home), "PYTHONPATH": str(TESTS), **variables}
    done = subprocess.run([sys.executable, *arguments], env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def _recorded(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


@pytest.mark.slow
def test_no_step_of_the_library_reaches_out_forks_or_leaves_an_identifier(tmp_path: Path) -> None:
    home, record = tmp_path / "home", tmp_path / "record"
    printed = _python(home, str(TESTS / "watched.py"), str(record), str(tmp_path))
    assert json.loads(printed) == ALL
    assert _recorded(record) == []
    written = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    assert [path for path in written if not OURS & set(path.parts)] == []


IMPORTED_BEFORE = """
import sys
from pathlib import Path

import watched

watched.watch(Path(sys.argv[1]))
import openvino_telemetry

openvino_telemetry.Telemetry(app_name="a", app_version="1", tid="t", backend="ga4", enable_opt_in_dialog=False)
from bcdseg.extras import require

require("openvino", extra="openvino", purpose="A test")
openvino_telemetry.Telemetry().send_event("category", "action", "label")
require("onnxruntime", extra="onnx", purpose="A test")
print("done")
"""


def test_telemetry_that_was_imported_before_the_library_sends_nothing(tmp_path: Path) -> None:
    record = tmp_path / "record"
    assert _python(tmp_path / "home", "-c", IMPORTED_BEFORE, str(record)) == "done"
    assert _recorded(record) == []


def test_a_variable_that_the_user_has_set_is_kept(tmp_path: Path) -> None:
    code = "import bcdseg, os; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    assert _python(tmp_path / "home", "-c", code, ORT_DISABLE_TELEMETRY="0") == "0 0"
