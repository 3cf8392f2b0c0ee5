"""Archives predicted by the workers of Ray: the results of the plain command, whatever dies on the way."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fragile
import fsspec
import numpy as np
import pytest
import torch
from drawn import draw_scan
from made_dicom import dicom, region, save
from PIL import Image
from pyarrow import parquet
from pydicom.data import get_testdata_file
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg import errors
from bcdseg.batch import archive, dispatch, worker
from bcdseg.batch.archive import TABLE, Archive, Workers, connected
from bcdseg.batch.dispatch import Dispatch
from bcdseg.batch.run_manifest import Journal, Record
from bcdseg.batch.storage import list_files, scans_of
from bcdseg.batch.worker import Worker, WorkerJob, WorkerOptions
from bcdseg.cli import app
from bcdseg.data.readers import read_scan
from bcdseg.inference.writers import table_rows
from bcdseg.runtimes.graph import cores

OPTIONS: dict[str, Any] = {"tta": "flip", "spacing": 0.1}


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Start Ray once for all tests here, since it takes seconds."""
    with connected(None, workers=2) as library:
        yield library


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32)
    return made.save(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(1, 9):
        Image.fromarray(draw_scan(number)).save(folder / f"scan {number}.png")
    Image.fromarray(draw_scan(1)).save(folder / "scan 1_mask.png")
    (folder / "scan 3.png").write_bytes(b"")
    made = dicom(np.stack([draw_scan(20), draw_scan(21)]), region((0, 0, 120, 160)), clip=True)
    save(made, folder / "clip.dcm")
    return folder


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def _rows(out: Path) -> list[dict[str, str]]:
    """Return the Parquet table as text, as in CSV."""
    found = parquet.read_table(out / TABLE).to_pylist()
    return [{name: "" if value is None else str(value) for name, value in row.items()} for row in found]


def _plain(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _kill_a_worker() -> bool:
    """Kill a worker of this process's own Ray: another test process may have one too."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since
            number = int(process.name)
            if process.joinpath("cmdline").read_bytes().startswith(b"ray::Worker") and _parent(_parent(number)) == os.getpid():
                os.kill(number, signal.SIGKILL)
                return True
    return False


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the worker's process by /proc")
def test_a_worker_killed_in_the_middle_loses_nothing_and_changes_nothing(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "TOGETHER", {"cpu": 1})
    killed = []

    def watch(records: Iterator[Record], total: int) -> Iterator[Record]:
        assert total == 10
        for number, record in enumerate(records):
            if number == 0:
                killed.append(_kill_a_worker())
            yield record

    loaded, out = bcdseg.load(model), tmp_path / "out"
    shutil.copy(str(get_testdata_file("reportsi.dcm", download=False)), scans / "report.dcm")  # no scan, and no failure
    files = list(list_files([str(scans)]))
    journal = Journal(out, {}, resume=False, overwrite=False)
    options = WorkerOptions(predict_options=OPTIONS, frames=1, masks=True, overlay=True)
    Archive(out, files, journal).fill(loaded, options, Workers(count=2), watch)
    assert killed == [True]
    assert _run(scans, "--model", model, "--out", tmp_path / "plain", "--tta", "flip", "--spacing", 0.1).exit_code == 1
    plain = _plain(tmp_path / "plain")
    assert len(plain) == 10
    for found, expected in zip(_rows(out), plain, strict=True):
        details = json.loads(found.pop("details"))
        assert details["source"] == expected["source"]
        assert found == expected
    assert _pictures(out) == _pictures(tmp_path / "plain")
    assert (out / "clips.json").read_bytes() == (tmp_path / "plain" / "clips.json").read_bytes()


@pytest.mark.slow
def test_a_file_that_kills_its_workers_is_a_row_and_takes_no_other_with_it(
    ray: Any, model: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "TRIES", 2)
    Image.fromarray(draw_scan(30)).save(scans / "poison.png")
    jobs = [WorkerJob(str(scans / f"{name}.png"), name) for name in ("poison", "scan 1")]  # handed out together, to one worker
    loaded = bcdseg.load(model)
    options = WorkerOptions(predict_options=OPTIONS, frames=1, masks=True, overlay=False)
    ray.cloudpickle.register_pickle_by_value(fragile)  # workers can't import the tests
    remote = ray.remote(fragile.Fragile)
    given = Dispatch(ray, lambda: remote.remote(loaded, options), workers=lambda: 1, together=1, classes=loaded.classes)
    poison, scan = sorted((result.record for result in given.results(jobs)), key=lambda record: record.file)
    given.stop()
    assert (scan.file, scan.whole, scan.rows[0].get("error")) == (jobs[1].file, True, None)
    assert (poison.file, poison.whole) == (jobs[0].file, False)
    assert "its worker failed" in poison.rows[0]["error"]


@pytest.mark.slow
def test_the_command_joins_a_cluster_reads_an_address_lists_failures_and_resumes(
    ray: Any, model: Path, scans: Path, tmp_path: Path
) -> None:
    out, address = tmp_path / "out", f"file://{scans}"
    arguments = (address, "--model", model, "--out", out, "--engine", "ray", "--no-overlay", "--workers", 1)
    cluster = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "bcdseg", "predict", *arguments, "--ray-address", cluster]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert "scan 3.png: the file is empty" in done.stderr
    assert "9 files, 1 scans not read" in done.stdout
    rows = _rows(out)
    sources = [row["source"].removeprefix(f"{address}/") for row in rows]
    assert sources == ["clip.dcm#1", "clip.dcm#2", *(f"scan {number}.png" for number in range(1, 9))]
    assert rows[4]["label"] == ""
    assert {path.name for path in out.glob("*.png")} == {
        "clip_frame1_mask.png", "clip_frame2_mask.png", *(f"scan {number}_mask.png" for number in (1, 2, 4, 5, 6, 7, 8)),
    }  # fmt: skip
    assert isinstance(_run(*arguments).exception, errors.OutputExistsError)
    assert "engine" in str(_run(scans, "--model", model, "--out", out, "--no-overlay", "--resume").exception)
    Image.fromarray(draw_scan(3)).save(scans / "scan 3.png")
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert _run(*arguments, "--resume").exit_code == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.png") if path.name != "scan 3_mask.png"} == times
    assert len(_rows(out)) == 10
    assert not any(row["error"] for row in _rows(out))


@pytest.mark.slow
def test_ray_is_silent_and_listens_to_this_machine_alone(ray: Any) -> None:
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    assert ray.get_runtime_context().worker.node.webui_url in (None, "")


def test_a_worker_alone_predicts_as_the_model_and_reports_what_it_could_not_fetch(model: Path, scans: Path) -> None:
    gone, numbered = f"file://{scans}/gone.png", scans / "IM#3"
    numbered.write_bytes(b"no scan")
    report = scans / "report.dcm"
    shutil.copy(str(get_testdata_file("reportsi.dcm", download=False)), report)
    threads = torch.get_num_threads()
    options = WorkerOptions(
        predict_options={}, frames=2, masks=False, overlay=False, named=frozenset([str(report)]), threads=threads
    )
    worker = Worker(bcdseg.load(model), options)
    jobs = [
        WorkerJob(str(scans / "clip.dcm"), "clip"),
        WorkerJob(str(numbered), "numbered"),
        WorkerJob(gone, "gone"),
        WorkerJob(str(report), "report"),
    ]
    found = {result.record.file: result for result in worker.predict(jobs)}
    assert len(found) == 4
    assert "report.dcm" in found[str(report)].record.rows[0]["error"]
    assert "IM#3: is not an image" in found[str(numbered)].record.rows[0]["error"]
    clip, missing = found[str(scans / "clip.dcm")], found[gone]
    expected = list(bcdseg.load(model).predict(scans / "clip.dcm", frames=2))
    assert clip.record.results == [one.to_dict() for one in expected]
    assert (clip.pictures, clip.record.whole) == ({}, True)
    assert "gone.png: can't be fetched (FileNotFoundError" in missing.record.rows[0]["error"]
    assert not missing.record.whole


def test_one_file_never_ends_a_task_whatever_it_raises(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """Exception like those of decoders written in Rust."""

    def panicking(file: str, frames: int, *, named: bool) -> Iterator[Any]:
        if "listing" in file:
            raise Panic
        return scans_of(file, frames, named=named)

    def failing(results: Any, classes: Any) -> Any:
        if "table" in results[0].source and not isinstance(results[0], bcdseg.Failure):
            raise Panic
        return table_rows(results, classes)

    monkeypatch.setattr(worker, "scans_of", panicking)
    monkeypatch.setattr(worker, "table_rows", failing)
    jobs = [WorkerJob(str(tmp_path / f"{name}.png"), name) for name in ("listing", "table", "good")]
    for job in jobs:
        Image.fromarray(draw_scan(1)).save(job.file)
    options = WorkerOptions(predict_options={}, frames=1, masks=False, overlay=False, threads=torch.get_num_threads())
    found = {result.record.file: result.record for result in Worker(bcdseg.load(model), options).predict(jobs)}
    assert [found[job.file].whole for job in jobs] == [False, False, True]
    for job in jobs[:2]:
        assert job.file in found[job.file].rows[0]["error"]
        assert "Panic" in found[job.file].rows[0]["error"]


def test_what_lies_at_an_address(scans: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/a/{path.name}": path.read_bytes() for path in scans.iterdir()})
    memory.pipe({"/a/b/IM1": (scans / "clip.dcm").read_bytes(), "/a/b/notes": b"text", "/a/.hidden/x.png": b"", "/a/x.txt": b""})
    names = ["b/IM1", "clip.dcm", *(f"scan {number}.png" for number in range(1, 9))]
    assert list(list_files(["memory://a"])) == [f"memory:///a/{name}" for name in names]
    assert list(list_files(["memory://a/scan *.png", "memory://a/scan 2.png"])) == [f"memory:///a/{name}" for name in names[2:]]
    np.testing.assert_array_equal(
        [read_scan(frame).pixels for frame in scans_of("memory:///a/b/IM1", 1, named=False)],
        [read_scan(frame).pixels for frame in scans_of(str(scans / "clip.dcm"), 1, named=True)],
    )
    assert list(list_files([str(scans), f"{scans}/./scan 1.png"])) == [str(scans / name) for name in names[1:]]
    assert list_files([str(scans), str(scans / "clip.dcm")])[str(scans / "clip.dcm")]
    for place, reason in (("memory://nothing", "contains no image"), ("nonsense://a", "can't be reached")):
        with pytest.raises(errors.ImageNotFoundError, match=reason):
            list_files([place])


def test_two_places_with_files_of_one_name_have_pictures_of_their_own(tmp_path: Path) -> None:
    files = ["memory://a/1.png", "file:///a/1.png", "/a/1.png"]
    found = Archive(tmp_path, files, Journal(None, {}, resume=False, overwrite=False))
    assert len(set(found._names.values())) == 3
    assert list(found._names) == files


def test_wrong_usage_is_reported(model: Path, scans: Path, tmp_path: Path) -> None:
    for arguments, reason in (
        (["--engine", "ray"], "--out FOLDER"),
        (["--engine", "ray", "--out", tmp_path / "out", "--dicom-seg"], "no --dicom-seg"),
        (["--engine", "ray", "--out", tmp_path / "out", "--format", "csv"], "leave out --format"),
        (["--engine", "ray", "--out", tmp_path / "out", "--threshold", 3], "between 0 and 1"),
        (["--workers", 2], "give --engine ray too"),
    ):
        refused = _run(scans, "--model", model, *arguments)
        assert isinstance(refused.exception, errors.OptionError)
        assert reason in str(refused.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "most"), [("1", 1), ("100000", None), ("many", None), ("0", None)])
def test_a_graph_takes_no_more_cores_than_it_may(monkeypatch: pytest.MonkeyPatch, given: str, most: int | None) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    own = cores()
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert cores() == (most or own)
