"""Files in the output folder of ``bcdseg predict``: those of earlier runs are replaced, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn import draw_scan
from made_dicom import dicom, region, save
from PIL import Image
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg.batch.run_manifest import NAME
from bcdseg.cli import app


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def _draw(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(draw_scan(number, (64, 80))).save(folder / name)
    return folder


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [[], ["--overwrite"], ["--resume"]])
def test_masks_of_a_data_set_are_never_replaced(model: str, tmp_path: Path, options: list[str]) -> None:
    data = _draw(tmp_path / "data", "a.png", "b.png")
    (data / "a_mask.png").write_bytes(b"drawn by a radiologist")
    before = {name: (data / name).read_bytes() for name in _names(data)}
    refused = _run(data, "--model", model, "--out", data, *options)
    assert isinstance(refused.exception, bcdseg.errors.OutputExistsError)
    assert "a_mask.png: exists already, and no run of predict has written it" in str(refused.exception)
    assert "--overwrite" not in str(refused.exception)
    assert {name: (data / name).read_bytes() for name in _names(data)} == before


def test_overwrite_replaces_a_run_and_keeps_what_the_run_did_not_write(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    save(dicom(draw_scan(3), region((0, 0, 120, 160))), _draw(tmp_path / "first", "a.png", "b.png") / "c.dcm")
    first = _run(tmp_path / "first", "--model", model, "--out", out, "--annotations", "coco", "--dicom-sr")
    assert first.exit_code == 0, first.output
    (out / "notes.txt").write_text("of the user")
    assert {"b_overlay.png", "c_sr.dcm", "annotations.json"} < _names(out)
    second = _draw(tmp_path / "second", "a.png")
    done = _run(second, "--model", model, "--out", out, "--no-overlay", "--overwrite")
    assert done.exit_code == 0, done.output
    assert _names(out) == {NAME, "a_mask.png", "predictions.csv", "predictions.json", "notes.txt"}


def test_overwrite_never_removes_a_scan_that_it_reads(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run(_draw(tmp_path / "in", "a.png"), "--model", model, "--out", out).exit_code == 0
    again = _run(out / "a_overlay.png", "--model", model, "--out", out, "--overwrite")
    assert again.exit_code == 0, again.output
    assert (out / "a_overlay.png").is_file()


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_run_killed_after_it_wrote_a_mask_is_resumed_or_replaced(model: str, tmp_path: Path, option: str) -> None:
    data, out = _draw(tmp_path / "data", "a.png", "b.png"), tmp_path / "out"
    assert _run(data, "--model", model, "--out", out).exit_code == 0
    lines = (out / NAME).read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if json.loads(line).get("file", "").endswith("b.png"))
    (out / NAME).write_bytes(b"".join(lines[:at]))  # the mask of b is written, and neither its record nor a table
    for table in ("predictions.csv", "predictions.json"):
        (out / table).unlink()
    done = _run(data, "--model", model, "--out", out, option)
    assert done.exit_code == 0, done.exception
    assert len((out / "predictions.csv").read_text().splitlines()) == 3


def test_resume_does_not_replace_a_mask_that_the_user_added(model: str, tmp_path: Path) -> None:
    data, out = _draw(tmp_path / "data", "a.png"), tmp_path / "out"
    assert _run(data, "--model", model, "--out", out).exit_code == 0
    _draw(data, "b.png")
    (out / "b_mask.png").write_bytes(b"drawn by a radiologist")
    refused = _run(data, "--model", model, "--out", out, "--resume")
    assert isinstance(refused.exception, bcdseg.errors.OutputExistsError)
    assert (out / "b_mask.png").read_bytes() == b"drawn by a radiologist"


def test_overwrite_replaces_a_run_of_an_earlier_version(model: str, tmp_path: Path) -> None:
    data, out = _draw(tmp_path / "data", "a.png"), tmp_path / "out"
    save(dicom(draw_scan(3), region((0, 0, 120, 160))), data / "c.dcm")
    arguments = [data, "--model", model, "--out", out, "--dicom-sr", "--annotations", "coco", "--overwrite"]
    assert _run(*arguments).exit_code == 0
    lines = [json.loads(line) for line in (out / NAME).read_bytes().splitlines()]
    kept = [line for line in lines if "writes" not in line]  # manifests of 0.2 list neither tables nor DICOM output
    for line in kept[1:]:
        line["pictures"] = [name for name in line["pictures"] if not name.endswith(".dcm")]
    (out / NAME).write_text("".join(json.dumps(line) + "\n" for line in kept))
    before = (out / "c_sr.dcm").read_bytes()
    done = _run(*arguments)
    assert done.exit_code == 0, done.output
    assert (out / "c_sr.dcm").read_bytes() != before
    assert "c_sr.dcm" in (out / NAME).read_text()


def test_dicom_output_is_next_to_the_mask_and_resume_restores_it(model: str, tmp_path: Path) -> None:
    _draw(tmp_path / "data", "a.png")
    save(dicom(draw_scan(3), region((0, 0, 120, 160))), tmp_path / "data" / "dcm" / "one.dcm")
    out = tmp_path / "out"
    arguments = [tmp_path / "data", "--model", model, "--out", out, "--dicom-sr", "--dicom-seg", "--no-overlay"]
    assert _run(*arguments).exit_code == 0
    written = {"a_mask.png", "dcm/one_mask.png", "dcm/one_seg.dcm", "dcm/one_sr.dcm"}
    assert _names(out) == {NAME, "predictions.csv", "predictions.json", *written}
    (out / "dcm" / "one_seg.dcm").unlink()
    assert _run(*arguments, "--resume").exit_code == 0
    assert (out / "dcm" / "one_seg.dcm").is_file()
