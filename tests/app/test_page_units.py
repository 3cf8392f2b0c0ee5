"""The page's modules: tested by Node's test runner, and checked by tsc and eslint where these are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from golden_predictions import write_golden

TOOLS = Path(__file__).with_name("page_tools")


def _node() -> str | None:
    """Return the Node that Playwright comes with, or the system's."""
    playwright = find_spec("playwright")
    bundled = Path(playwright.origin).parent / "driver" / "node" if playwright and playwright.origin else None
    return str(bundled) if bundled and bundled.is_file() else shutil.which("node")


def _run_tests(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [_node() or "", "--no-warnings", "--test", str(Path(__file__).with_name(name))]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


@pytest.mark.skipif(_node() is None, reason="there is no Node")
@pytest.mark.parametrize("name", ["page.test.mjs", "clip.test.mjs"])
def test_modules_of_the_page(name: str) -> None:
    done = _run_tests(name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(_node() is None, reason="there is no Node")
def test_modules_of_the_static_page_decide_and_measure_as_the_library(tmp_path: Path) -> None:
    write_golden(tmp_path / "golden.json")
    done = _run_tests("static.test.mjs", GOLDEN=str(tmp_path / "golden.json"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not (TOOLS / "node_modules").is_dir(), reason="no tools: npm install in tests/app/page_tools")
@pytest.mark.parametrize("check", ["types", "lint"])
def test_types_and_style_of_the_page(check: str) -> None:
    done = subprocess.run(["npm", "run", "--silent", check], cwd=TOOLS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
