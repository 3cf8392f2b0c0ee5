"""The command line, run as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn import draw_scan
from PIL import Image
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg.cli import app


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(1, 4):
        Image.fromarray(draw_scan(number)).save(folder / f"scan ({number}).png")
    Image.fromarray(draw_scan(1)).save(folder / "scan (1)_mask.png")
    return folder


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_folder_becomes_pictures_and_tables(model: str, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = _run("predict", scans, "--out", out, "--model", model, "--spacing", "0.1")
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == {
        "predictions.csv",
        "predictions.json",
        ".progress.jsonl",
        *(f"scan ({number})_{kind}.png" for number in (1, 2, 3) for kind in ("mask", "overlay")),
    }
    rows = list(csv.DictReader(io.StringIO((out / "predictions.csv").read_text())))
    assert [Path(row["source"]).name for row in rows] == ["scan (1).png", "scan (2).png", "scan (3).png"]
    details = json.loads((out / "predictions.json").read_text())
    assert details[0]["spacing_mm"] == [0.1, 0.1]
    assert "scan (2).png" in done.stdout
    assert "medical device" not in done.stdout


def test_bad_files_are_listed_and_skipped_and_change_the_exit_status(model: str, scans: Path, tmp_path: Path) -> None:
    (scans / "broken.png").write_bytes(b"")
    done = _run("predict", scans, tmp_path / "missing.png", "--out", tmp_path / "out", "--model", model, "--no-overlay")
    assert done.exit_code == 1
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "predictions.csv").read_text())))
    assert [bool(row["error"]) for row in rows] == [True, False, False, False, True]
    assert "broken.png: the file is empty" in done.stderr
    assert "no such file" in done.stderr
    assert not list((tmp_path / "out").glob("*_overlay.png"))


def test_nothing_is_overwritten_by_default(model: str, scans: Path, tmp_path: Path) -> None:
    arguments = ("predict", scans, "--out", tmp_path / "out", "--model", model)
    assert _run(*arguments).exit_code == 0
    (tmp_path / "out" / "predictions.csv").write_text("mine")
    refused = _run(*arguments)
    assert isinstance(refused.exception, bcdseg.errors.OutputExistsError)
    assert (tmp_path / "out" / "predictions.csv").read_text() == "mine"
    assert _run(*arguments, "--overwrite").exit_code == 0
    assert (tmp_path / "out" / "predictions.csv").read_text() != "mine"


def test_formats_for_programs(model: str, scans: Path) -> None:
    as_json = json.loads(_run("predict", scans, "--model", model, "--format", "json").stdout)
    as_csv = list(csv.DictReader(io.StringIO(_run("predict", scans, "--model", model, "--format", "csv").stdout)))
    assert [row["label"] for row in as_csv] == [result["label"] for result in as_json]
    assert len(as_json) == 3


def test_wrong_usage_ends_with_two_and_one_line(tmp_path: Path, model: str, scans: Path, run_main: Callable[..., Any]) -> None:
    for arguments, reason in (
        (["predict", str(tmp_path / "*.png"), "--model", model], "contains no image"),
        (["predict", str(scans), "--model", "nothing"], "neither a folder nor the name"),
        (["predict", str(scans), "--model", model, "--threshold", "3"], "between 0 and 1"),
        (["predict"], "Missing argument"),
    ):
        done = run_main(*arguments)
        assert done.returncode == 2, done.stderr
        assert reason in done.stderr
    done = subprocess.run([sys.executable, "-m", "bcdseg", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_info_shows_the_card_and_the_machine(model: str, tmp_path: Path) -> None:
    shown = _run("info", model)
    assert shown.exit_code == 0
    assert "plain_cnn" in shown.stdout
    assert "torch " in shown.stdout
    assert "library_name" not in shown.stdout
    drawn = _run("info", model, "--diagram", tmp_path / "network.svg")
    assert drawn.exit_code == 0
    assert (tmp_path / "network.svg").read_text().startswith("<svg")


def test_version_and_help() -> None:
    assert _run("--version").stdout == f"bcdseg {bcdseg.__version__}\n"
    shown = _run("--help").stdout
    assert "Not a medical device" in shown
    assert "bcdseg predict scan.png" in shown
    assert "Examples" in _run("predict", "--help").stdout
