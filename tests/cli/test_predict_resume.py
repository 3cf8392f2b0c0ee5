"""A run of ``bcdseg predict`` that was stopped and resumes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import draw_scan
from forked import run_forked
from made_dicom import dicom, region, save
from PIL import Image
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg.batch.run_manifest import NAME
from bcdseg.batch.runner import OutputFolder
from bcdseg.cli import app

SCANS = 6
AT = 3


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(1, SCANS + 1):
        Image.fromarray(draw_scan(number)).save(folder / f"scan {number}.png")
    return folder


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def _interrupt() -> None:
    raise KeyboardInterrupt


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stopped(stop: Callable[[], None], *arguments: object) -> Result:
    """Run the command, and call a function that stops it when its third scan is to be written."""
    add, calls = OutputFolder.add, []

    def add_or_stop(folder: OutputFolder, result: Any) -> Any:
        calls.append(result)
        if len(calls) == AT:
            stop()
        return add(folder, result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OutputFolder, "add", add_or_stop)
        return _run(*arguments)


def _contents(folder: Path, *but: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in but}


def _whole(folder: Path, *but: str) -> tuple[dict[str, bytes], list[bytes]]:
    """Return the files of a run, and the lines of its manifest, whose order depends on when the run was stopped."""
    return _contents(folder, NAME, *but), sorted((folder / NAME).read_bytes().splitlines())


def _times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}


@pytest.mark.parametrize("killed", [True, False])
def test_a_stopped_run_resumes_and_ends_like_one_that_was_not_stopped(
    model: str, scans: Path, tmp_path: Path, killed: bool
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    arguments = [scans, "--model", model, "--device", "cpu", "--tta", "flip", "--spacing", "0.1"]
    if killed:
        assert run_forked(lambda: _stopped(_kill, *arguments, "--out", out)) == -signal.SIGKILL
    else:
        done = _stopped(_interrupt, *arguments, "--out", out)
        assert done.exit_code == 130, done.output
        assert f"{AT - 1} of {SCANS} files are done" in done.stderr
        assert len((out / "predictions.csv").read_text().splitlines()) == AT
    before = _times(out)
    assert len(before) == 2 * (AT - 1)
    with (out / NAME).open("ab") as journal:
        journal.write(b'{"file": "half a li')
    assert _run(*arguments, "--out", whole).exit_code == 0
    assert _run(*arguments, "--out", out, "--resume").exit_code == 0
    assert before.items() <= _times(out).items()
    assert _whole(out) == _whole(whole)
    times = _times(out)
    again = _run(*arguments, "--out", out, "--resume", "--format", "json")
    assert json.loads(again.stdout) == json.loads((whole / "predictions.json").read_bytes())
    assert _times(out) == times
    assert _whole(out) == _whole(whole)


def test_what_has_changed_is_missing_or_had_failed_is_done_again(model: str, scans: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    (scans / "scan 5.png").write_bytes(b"")
    assert _run(scans, "--model", model, "--out", out).exit_code == 1
    Image.fromarray(draw_scan(5)).save(scans / "scan 5.png")
    Image.fromarray(draw_scan(70)).save(scans / "scan 2.png")
    os.utime(scans / "scan 2.png", ns=(0, 0))
    Image.fromarray(draw_scan(7)).save(scans / "scan 7.png")
    (out / "scan 3_mask.png").unlink()
    before = _times(out)
    assert _run(scans, "--model", model, "--out", out, "--resume").exit_code == 0
    after = _times(out)
    assert {name for name in after if after[name] == before.get(name)} == {
        f"scan {number}_{kind}.png" for number in (1, 4, 6) for kind in ("mask", "overlay")
    }
    assert _run(scans, "--model", model, "--out", whole).exit_code == 0
    assert _contents(out, NAME) == _contents(whole, NAME)


def test_the_frames_of_a_clip_are_done_together(model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = dicom(rng.integers(0, 255, (4, 64, 80), dtype=np.uint8), region((0, 0, 64, 80)), clip=True)
    clip = save(made, tmp_path / "clip.dcm")
    Image.fromarray(draw_scan(1)).save(tmp_path / "a.png")
    arguments = [tmp_path / "a.png", clip, "--model", model, "--dicom-sr"]
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert _stopped(_interrupt, *arguments, "--out", out).exit_code == 130
    assert len((out / "predictions.csv").read_text().splitlines()) == 1 + 2
    assert not (out / "clip_sr.dcm").exists()
    assert _run(*arguments, "--out", out, "--resume").exit_code == 0
    assert _run(*arguments, "--out", whole).exit_code == 0
    assert _whole(out, "clip_sr.dcm") == _whole(whole, "clip_sr.dcm")  # a report contains the time when it was made
    assert json.loads((out / "clips.json").read_text())[0]["frames"] == [1, 2, 3, 4]


def test_another_model_other_options_and_other_folders_are_refused(model: str, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run(scans, "--model", model, "--out", out).exit_code == 0
    before = _contents(out)
    other = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32).save(tmp_path / "small")
    for arguments, reason in (
        (["--model", other, "--resume"], "predictions of another model"),
        (["--model", model, "--resume", "--threshold", "0.6"], "threshold None, not 0.6"),
        (["--model", model, "--resume", "--no-overlay"], "overlay True, not False"),
        (["--model", model, "--resume", "--overwrite"], "give one of them"),
        (["--model", model], "--resume"),
    ):
        refused = _run(scans, "--out", out, *arguments)
        assert isinstance(refused.exception, bcdseg.errors.BcdsegError)
        assert reason in str(refused.exception)
    assert "--out" in str(_run(scans, "--model", model, "--resume").exception)
    assert _contents(out) == before
    (out / NAME).unlink()
    assert isinstance(_run(scans, "--model", model, "--out", out, "--resume").exception, bcdseg.errors.OutputExistsError)
    (out / NAME).write_text("damaged\n")
    assert "damaged" in str(_run(scans, "--model", model, "--out", out, "--resume").exception)
