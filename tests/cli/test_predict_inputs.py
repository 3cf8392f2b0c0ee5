"""Inputs and options of ``bcdseg predict`` that would be ignored or misread."""

from __future__ import annotations

import csv
import io
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from drawn import draw_scan
from PIL import Image
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg.cli import app


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def _errors(done: Result) -> dict[str, str]:
    return {Path(row["source"]).name: row["error"] for row in csv.DictReader(io.StringIO(done.stdout))}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in (1, 2):
        Image.fromarray(draw_scan(number, (64, 80))).save(folder / f"{number}.png")
    return folder


@pytest.mark.skipif(find_spec("cv2") is None, reason="needs the extra video")
def test_a_damaged_clip_is_a_row_and_the_other_scans_are_predicted(model: str, scans: Path) -> None:
    (scans / "bad.mp4").write_bytes(bytes(1000))
    done = _run(scans, "--model", model, "--format", "csv")
    assert done.exit_code == 1
    errors = _errors(done)
    assert "can't be decoded as a video clip" in errors.pop("bad.mp4")
    assert errors == {"1.png": "", "2.png": ""}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_a_broken_link_and_a_pipe_in_a_folder_are_rows(model: str, scans: Path) -> None:
    (scans / "link.png").symlink_to(scans / "gone.png")
    os.mkfifo(scans / "pipe.png")
    (scans / "folder.png").mkdir()
    done = _run(scans, "--model", model, "--format", "csv")
    assert done.exit_code == 1
    errors = _errors(done)
    assert "link.png" in errors.pop("link.png")
    assert "is a pipe" in errors.pop("pipe.png")
    assert errors == {"1.png": "", "2.png": ""}


def test_an_empty_path_is_refused(model: str, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scans)
    refused = _run("", "--model", model)
    assert isinstance(refused.exception, bcdseg.errors.ImageNotFoundError)
    assert "empty path" in str(refused.exception)
    assert _run(".", "--model", model).exit_code == 0


def test_an_address_needs_the_engine_that_reads_it(model: str, tmp_path: Path) -> None:
    refused = _run("s3://bucket/archive", "--model", model, "--out", tmp_path / "out")
    assert isinstance(refused.exception, bcdseg.errors.OptionError)
    assert "--engine ray" in str(refused.exception)
    assert not (tmp_path / "out").exists()


def test_masks_that_a_shell_lists_with_their_scans_are_left_out(model: str, scans: Path) -> None:
    (scans / "1_mask.png").write_bytes((scans / "1.png").read_bytes())
    (scans / "3_mask.png").write_bytes((scans / "1.png").read_bytes())
    done = _run(*sorted(scans.iterdir()), "--model", model, "--format", "csv")
    assert done.exit_code == 0, done.output
    assert list(_errors(done)) == ["1.png", "2.png", "3_mask.png"], "a mask without its scan is given as a scan"
    assert "left out" in done.stderr
    assert "1_mask.png" in done.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--tile-scale", "0.5"], "--mode tiles"),
        (["--tile-overlap", "0.5"], "--mode tiles"),
        (["--explain"], "--out FOLDER"),
        (["--explain", "--out", "out", "--no-overlay"], "--no-overlay"),
    ],
)
def test_options_without_effect_are_refused(model: str, scans: Path, options: list[str], reason: str) -> None:
    refused = _run(scans, "--model", model, *options)
    assert isinstance(refused.exception, bcdseg.errors.OptionError)
    assert reason in str(refused.exception)


def test_a_threshold_for_a_model_without_outlines_is_refused(scans: Path, tmp_path: Path) -> None:
    classifier = bcdseg.create("plain_cnn", classes=["benign", "malignant"], decoder=None, size=32).save(tmp_path / "classifier")
    done = _run(scans, "--model", classifier, "--threshold", "0.3")
    assert isinstance(done.exception, bcdseg.errors.OptionError)
    assert "only classifies" in str(done.exception)
