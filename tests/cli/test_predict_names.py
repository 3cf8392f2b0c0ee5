"""``bcdseg predict`` on scans with unusual names."""

from __future__ import annotations

import csv
import errno
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn import draw_scan
from PIL import Image
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg import cli, errors
from bcdseg.cli import app

LONG = "a" * 241 + ".png"


def _scans(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(draw_scan(number, (32, 40))).save(folder / name)
    return folder


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def _rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.read_text(), newline="")))


def test_digits_that_are_not_decimal_are_letters_of_a_name(model: str, tmp_path: Path) -> None:
    folder = _scans(tmp_path / "scans", "scan 1²2.png", "scan 10.png", "scan 2.png", "scan ①.png", "scan ٣.png")
    done = _run(folder, "--model", model, "--out", tmp_path / "out", "--no-overlay")
    assert done.exit_code == 0, done.output
    names = [Path(row["source"]).name for row in _rows(tmp_path / "out" / "predictions.csv")]
    assert names.index("scan 2.png") < names.index("scan 10.png")
    assert len(names) == 5


def test_names_too_long_for_an_ending_are_shortened_and_found_again(model: str, tmp_path: Path) -> None:
    other, accents = "a" * 240 + "b.png", "é" * 120 + ".png"
    folder, out = _scans(tmp_path / "scans", LONG, other, accents, "short.png"), tmp_path / "out"
    done = _run(folder, "--model", model, "--out", out)
    assert done.exit_code == 0, done.output
    assert {Path(row["source"]).name for row in _rows(out / "predictions.csv")} == {LONG, other, accents, "short.png"}
    masks = {path.name for path in out.glob("*_mask.png")}
    assert len(masks) == 4
    assert "short_mask.png" in masks
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    again = _run(folder, "--model", model, "--out", out, "--resume")
    assert again.exit_code == 0, again.output
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")} == times
    assert _run(folder / LONG, "--model", model, "--out", tmp_path / "alone").exit_code == 0
    assert {path.name for path in (tmp_path / "alone").glob("*_mask.png")} < masks, "a name follows from the scan's own alone"

    rows = [
        f"{path.name},{label}"
        for path, label in zip(sorted(folder.iterdir()), ("normal", "normal", "benign", "malignant"), strict=True)
    ]
    (folder / "data.csv").write_text("\n".join(["image,label", *rows]))
    found = bcdseg.evaluate_predictions(out, bcdseg.open_dataset(folder / "data.csv"), progress=False, draws=0)
    assert not any(value != value for value in found.cases.outlined), "each scan's mask was found"


def test_a_prediction_of_a_long_name_is_saved(small_model: bcdseg.Model, tmp_path: Path) -> None:
    folder = _scans(tmp_path / "scans", LONG)
    written = small_model.predict(folder / LONG).save(tmp_path / "out")
    assert {path.suffix for path in written} == {".json", ".png"}


def test_a_picture_that_can_not_be_written_is_a_failure_of_its_scan_alone(model: str, tmp_path: Path) -> None:
    folder, out = _scans(tmp_path / "scans", "a.png", "b.png", "c.png"), tmp_path / "out"
    assert _run(folder, "--model", model, "--out", out, "--no-overlay").exit_code == 0
    (out / "b_mask.png").unlink()
    (out / "b_mask.png").mkdir()
    done = _run(folder, "--model", model, "--out", out, "--no-overlay", "--overwrite")
    assert done.exit_code == 1, done.output
    assert "b_mask.png: exists already" in done.stderr
    failed = {Path(row["source"]).name: bool(row["error"]) for row in _rows(out / "predictions.csv")}
    assert failed == {"a.png": False, "b.png": True, "c.png": False}
    (out / "b_mask.png").rmdir()
    again = _run(folder, "--model", model, "--out", out, "--no-overlay", "--resume")
    assert again.exit_code == 0, again.output
    assert not any(row["error"] for row in _rows(out / "predictions.csv"))


def test_a_full_disk_is_one_error(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = _scans(tmp_path / "scans", "a.png", "b.png", "c.png"), tmp_path / "out"
    path_open, new = Path.open, []

    def full_after_the_first(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode == "xb":
            new.append(path)
            if len(new) > 2:  # the notes of the run, and one mask
                raise OSError(errno.ENOSPC, "No space left on device")
        return path_open(path, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full_after_the_first)
        done = _run(folder, "--model", model, "--out", out, "--no-overlay")
    assert isinstance(done.exception, errors.OutputError)
    assert "No space left on device" in str(done.exception)
    again = _run(folder, "--model", model, "--out", out, "--no-overlay", "--resume")
    assert again.exit_code == 0, again.output
    assert len(list(out.glob("*_mask.png"))) == 3


FORMULAS = ("=1+1.png", "+cmd.png", "-2+3.png", "@x.png", "\tx.png", "\rx.png", "'=y.png", "plain.png")


def _cells(table: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(table, newline="")) for cell in row]


def test_no_cell_of_a_table_is_a_formula_and_the_table_is_read_back_unchanged(tmp_path: Path) -> None:
    made = bcdseg.create("plain_cnn", classes=["=cmd()", "b"], size=32, decoder_channels=(8, 8, 8, 8, 8), seed=0)
    model = made.save(tmp_path / "model")
    folder, out = _scans(tmp_path / "scans", *FORMULAS), tmp_path / "out"
    assert _run(folder, "--model", model, "--out", out).exit_code == 0
    table = (out / "predictions.csv").read_bytes().decode()
    assert not [cell for cell in _cells(table) if cell[:1] in tuple("=+-@\t\r")]

    samples = [bcdseg.Sample(id=path.name, image=path, label="=cmd()", group="@group") for path in folder.iterdir()]
    dataset = bcdseg.Dataset(tuple(samples), "formulas")
    dataset.to_csv(tmp_path / "scans" / "data.csv")
    assert not [cell for cell in _cells((tmp_path / "scans" / "data.csv").read_bytes().decode()) if cell[:1] in tuple("=+-@\t\r")]
    opened = bcdseg.open_dataset(tmp_path / "scans" / "data.csv")
    assert {(one.id, one.image.name, one.label, one.group) for one in opened} == {
        (name, name, "=cmd()", "@group") for name in FORMULAS
    }
    found = bcdseg.evaluate_predictions(out, opened, progress=False, draws=0)
    assert set(found.cases.ids) == set(FORMULAS)
    assert "=cmd()" in found.cases.classes
    before = (out / "predictions.csv").read_bytes()
    assert _run(folder, "--model", model, "--out", out, "--resume").exit_code == 0
    assert (out / "predictions.csv").read_bytes() == before


ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202e.png"


def test_control_characters_of_names_are_shown_and_not_obeyed(model: str, tmp_path: Path) -> None:
    folder = _scans(tmp_path / "scans", ESCAPES, "line\nfeed.png")
    (folder / f"broken {ESCAPES}").write_bytes(b"no image")
    done = _run(folder, "--model", model)
    assert done.exit_code == 1
    assert "\\x1b[31mred\\x1b]0;title\\x07\\x9b2J\\u202e.png: is not an image" in done.stderr
    assert "\\x1b[31mred" in done.stdout
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(done.output)
    assert "line\\x0afeed.png" in done.stdout


@pytest.mark.filterwarnings("default")
def test_usage_errors_and_warnings_show_control_characters(run_main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = run_main("--x\x1b[2J")
    monkeypatch.setattr(cli, "app", lambda **_: warnings.warn(sys.argv[1], stacklevel=1))
    warned = run_main("no\x1b[2J")
    for done, status in ((wrong, 2), (warned, 0)):
        assert done.returncode == status, done.stderr
        assert "\\x1b[2J" in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
