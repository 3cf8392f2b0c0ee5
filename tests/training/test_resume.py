"""A stopped run resumes with the same result, or the error states why it can't."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_run import OPTIONS, model, parts
from made import busi

import bcdseg
from bcdseg import Run, errors
from bcdseg.training.loop.task import SegmentationClassificationTask


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busi(tmp_path_factory.mktemp("data"), (4, 4, 4))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return bcdseg.fit(model(), *parts(data), out=tmp_path_factory.mktemp("runs") / "run", **OPTIONS)


def _history(run: Run) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]


def _last(run: Run) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run.folder / "last.ckpt", weights_only=True)
    return state


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def test_killed_in_an_epoch_it_ends_like_the_run_that_was_not(data: Path, finished: Run, tmp_path: Path) -> None:
    program = Path(__file__).parents[1] / "killed_run.py"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, program, data, tmp_path / "run"]
    killed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "run" / "metrics.csv").read_text().count("\n") == 3
    run = bcdseg.fit(model(), *parts(data), out=tmp_path / "run", resume=True)
    assert _history(run) == _history(finished)
    assert all(row["seconds"] > 0 for row in run.history)  # also of the epochs before the kill
    for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
        assert _same(_last(run)[part], _last(finished)[part]), part
    assert (run.folder / "last.ckpt").read_bytes() == (finished.folder / "last.ckpt").read_bytes()
    assert _same(run.model.network.state_dict(), finished.model.network.state_dict())


class _StoppedError(Exception):
    pass


def test_a_run_stopped_in_its_first_epoch_starts_again(
    data: Path, finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise _StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationClassificationTask, "on_train_batch_end", stop)
        with pytest.raises(_StoppedError):
            bcdseg.fit(model(), *parts(data), out=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run" / "last.ckpt").exists()
    run = bcdseg.fit(model(), *parts(data), out=tmp_path / "run", resume=True, **OPTIONS)
    assert _history(run) == _history(finished)


def test_a_run_killed_at_its_start_starts_again_in_its_folder(data: Path, finished: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "seen.csv").write_bytes((finished.folder / "seen.csv").read_bytes())  # the options come last
    (out / f".config.toml.{'0' * 16}.bcdseg-part").write_bytes(b"epochs =")
    run = bcdseg.fit(model(), *parts(data), out=out, resume=True, **OPTIONS)
    assert _history(run) == _history(finished)
    assert {path.name for path in out.iterdir()} == {path.name for path in finished.folder.iterdir()}


def test_a_folder_with_other_files_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "seen.csv").write_text("part,id\n")  # of the same name as a file of a run
    with pytest.raises(errors.OutputExistsError, match="exists already"):
        bcdseg.fit(model(), *parts(data), out=tmp_path, resume=True, **OPTIONS)
    assert (tmp_path / "seen.csv").read_text() == "part,id\n"


def test_a_finished_run_is_handed_back(data: Path, finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished.folder / "last.ckpt").stat().st_mtime_ns
    again = bcdseg.fit(model(), *parts(data), out=finished.folder, resume=True, progress=True)  # other options stay
    assert "is finished" in capsys.readouterr().err
    assert again.history == finished.history
    assert (again.best_epoch, again.best_score) == (finished.best_epoch, finished.best_score)
    assert _same(again.model.network.state_dict(), finished.model.network.state_dict())
    assert (finished.folder / "last.ckpt").stat().st_mtime_ns == before


def test_a_resumed_run_is_the_same_run(data: Path, finished: Run) -> None:
    train, val = parts(data)
    with pytest.raises(errors.OptionError, match=r"lr=0.5 \(0.001 there\)"):
        bcdseg.fit(model(), train, val, out=finished.folder, resume=True, **{**OPTIONS, "lr": 0.5})
    with pytest.raises(errors.DatasetError, match=r"only then: \(train,benign/"):
        bcdseg.fit(model(), train.select(train.ids[1:]), val, out=finished.folder, resume=True)
    relabelled = replace(val, samples=(replace(val[0], label="malignant"), *val.samples[1:]))
    with pytest.raises(errors.DatasetError, match=r"only now: .*; only then: "):
        bcdseg.fit(model(), train, relabelled, out=finished.folder, resume=True)
    copied = replace(train[0], image=train[1].image)  # under the same name
    with pytest.raises(errors.DatasetError, match=r"only now: .*; only then: "):
        bcdseg.fit(model(), replace(train, samples=(copied, *train.samples[1:])), val, out=finished.folder, resume=True)
    with pytest.raises(errors.OptionError, match=r"head='global' \('guided' there\)"):
        bcdseg.fit(model(head="global"), train, val, out=finished.folder, resume=True)


def test_a_run_resumes_with_the_model_that_it_started_from_only(data: Path, tmp_path: Path) -> None:
    start = model()
    start.rules = replace(start.rules, threshold=0.4)
    start.training = {"seen": {"contents": ["abc"], "groups": []}}
    run = bcdseg.fit(start, *parts(data), out=tmp_path / "run", **{**OPTIONS, "epochs": 1, "warmup_epochs": 0})
    shutil.rmtree(run.folder / "model")
    with pytest.raises(errors.OptionError, match="started from another model: decision rules and training scans="):
        bcdseg.fit(model(), *parts(data), out=run.folder, resume=True)
    resumed = bcdseg.fit(start, *parts(data), out=run.folder, resume=True).model
    assert resumed.rules == run.model.rules
    assert "abc" in resumed.training["seen"]["contents"]


def test_a_damaged_checkpoint_is_reported(data: Path, finished: Run, tmp_path: Path) -> None:
    for name in ("config.toml", "seen.csv"):
        (tmp_path / name).write_bytes((finished.folder / name).read_bytes())
    for content in (b"", (finished.folder / "last.ckpt").read_bytes()[:1000], b"cos\nsystem\n(S'false'\ntR."):
        (tmp_path / "last.ckpt").write_bytes(content)
        with pytest.raises(errors.ModelFileError, match=r"last.ckpt: is damaged"):
            bcdseg.fit(model(), *parts(data), out=tmp_path, resume=True)
