"""Two processes give the same run as one process alone, within rounding."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from made import busi, save, scan
from two_processes import TOGETHER, normed, parts, start

import bcdseg
from bcdseg import errors

ROOT = Path(__file__).parents[2]


def _run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=300)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.slow
def test_two_processes_under_torchrun_are_one_run(tmp_path: Path) -> None:
    data = busi(tmp_path / "data", (5, 5, 4))
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", _free_port())
    done = _run(*torchrun, ROOT / "tests" / "two_processes.py", data, tmp_path / "two", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    alone = bcdseg.fit(start(), *parts(data), out=tmp_path / "one", **TOGETHER)
    ranks: list[dict[str, Any]] = [torch.load(tmp_path / "two" / f"rank{rank}.pt") for rank in (0, 1)]
    for row, together in zip(alone.history, ranks[0]["history"], strict=True):
        assert row.keys() == together.keys()
        assert all(together[name] == pytest.approx(row[name], rel=1e-4, abs=1e-5) for name in row if name != "seconds")
    for name, value in alone.model.network.state_dict().items():
        torch.testing.assert_close(ranks[0]["weights"][name], value, rtol=1e-3, atol=1e-5)
        assert torch.equal(ranks[0]["weights"][name], ranks[1]["weights"][name])
    assert (ranks[0]["history"], ranks[0]["best"]) == (ranks[1]["history"], ranks[1]["best"])
    for one, other in zip(normed(0, 1), ranks[0]["norms"], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_the_command_line_starts_its_own_processes_and_speaks_once(tmp_path: Path) -> None:
    for part, first in (("train", 1), ("val", 4)):
        for label in ("benign", "malignant"):
            for number in range(first, first + 3):
                save(tmp_path / "data" / part / label / f"{number}.png", scan(number, label)[0])
    options = ("--encoder", "plain_cnn", "--decoder", "none", "--size", 32, "--device", "cpu", "--devices", 2)
    settings = [word for setting in ("epochs=1", "batch_size=2", "workers=0", "pictures=no") for word in ("--set", setting)]
    done = _run("-m", "bcdseg", "train", "data", *options, *settings, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Best epoch 1 of 1") == 1
    assert done.stderr.count("epoch 1/1") == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["plain_cnn-1"]
    rows = (tmp_path / "runs" / "plain_cnn-1" / "seen.csv").read_text().splitlines()
    assert sum(row.startswith("val,val/") for row in rows) == 6


def test_torchrun_and_options_must_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = busi(tmp_path / "data", (3, 3, 3))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(errors.OptionError, match="torchrun started 4 processes, and devices times nodes is 1"):
        bcdseg.fit(start(), *parts(data), out=tmp_path / "run", **TOGETHER)
