from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from made import busi, save, zipped
from typer.testing import CliRunner

from bcdseg.cli.data import audit_command, fetch_command, split_command
from bcdseg.data.opening import open_dataset
from bcdseg.data.splits import load_split
from bcdseg.errors import DatasetError, OptionError, OutputError, OutputExistsError
from bcdseg.training.command import Command

app = typer.Typer()
app.command("split")(split_command)
app.command("audit")(audit_command)
app.command("fetch")(fetch_command)


def test_split_writes_a_file_and_prints_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    folder, out = busi(tmp_path / "scans", (4, 4, 4)), tmp_path / "split.json"
    done = CliRunner().invoke(app, ["split", str(folder), "--out", str(out), "--fractions", "0.5", "0.25", "0.25", "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()] == ["train", "val", "test", "Written"]
    assert load_split(out, open_dataset(folder)).seed == 3


def test_split_refuses_a_file_that_exists_before_it_reads_scans_and_a_negative_seed(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text("mine")
    done = CliRunner().invoke(app, ["split", str(tmp_path / "no data"), "--out", str(tmp_path / "split.json")])
    assert isinstance(done.exception, OutputExistsError)
    done = CliRunner().invoke(app, ["split", str(tmp_path), "--out", str(tmp_path / "new.json"), "--seed", "-1"])
    assert done.exit_code == 2
    assert "--seed" in done.output


@pytest.mark.parametrize("command", ["audit", "split"])
def test_a_place_that_cannot_be_written_is_refused_before_scans_are_read(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = CliRunner().invoke(app, [command, str(tmp_path / "no data"), "--out", str(tmp_path / "file" / "new" / "out.json")])
    assert isinstance(done.exception, OutputError), done.output
    assert "file is not a folder" in str(done.exception)


def test_the_command_line_names_columns_and_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    folder, out = busi(tmp_path / "scans", (0, 8, 8), second_mask=False), tmp_path / "split.json"
    cells = [f"{label}/{label} ({number}).png,{label[0]},{number}" for label in ("benign", "malignant") for number in range(1, 9)]
    (folder / "t.csv").write_text("\n".join(["scan,finding,who", *cells]))
    columns = ["--columns", "image=scan, label=finding", "--columns", "group=who"]
    options = [*columns, "--class-map", "b=benign,m=malignant", "--fractions", "0.5", "0.25", "0.25"]
    done = CliRunner().invoke(app, ["split", str(folder / "t.csv"), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    data = open_dataset(folder / "t.csv", columns={"image": "scan", "label": "finding", "group": "who"})
    train, val, test = load_split(out, data.map_labels({"b": "benign", "m": "malignant"}))
    assert {sample.group for sample in train}.isdisjoint(sample.group for part in (val, test) for sample in part)
    trained = Command(
        data=str(folder / "t.csv"), split=str(out), columns="image=scan,label=finding,group=who", class_map=options[5]
    )
    assert trained.parts().train.ids == train.ids
    for wrong in (["--columns", "image"], ["--columns", "image=a,image=b"]):
        assert isinstance(
            CliRunner().invoke(app, ["split", str(folder), "--out", str(out), "--overwrite", *wrong]).exception, OptionError
        )


def test_fetch_prints_the_folder_alone_on_standard_output(tmp_path: Path) -> None:
    (tmp_path / "cache/busi").mkdir(parents=True)
    (tmp_path / "cache/busi/Dataset_BUSI.zip").write_bytes(zipped(busi(tmp_path / "made/BUSI")))
    done = CliRunner().invoke(app, ["fetch", "busi", "--accept-licence", "--cache", str(tmp_path / "cache")])
    assert done.exit_code == 0, done.output
    assert len(open_dataset(done.stdout.strip())) == 8
    assert "CC BY 4.0" in done.stderr


def test_an_unknown_data_set_is_refused() -> None:
    done = CliRunner().invoke(app, ["fetch", "imagenet"])
    assert isinstance(done.exception, OptionError)
    assert "'busi', 'bus-bra', 'breast', 'bus-uclm'" in str(done.exception)


def test_commands_leave_out_scans_with_problems_and_resize_masks_on_request(tmp_path: Path) -> None:
    folder, out = busi(tmp_path / "scans", (4, 4, 4)), tmp_path / "split.json"
    save(folder / "benign" / "benign (1)_mask.png", np.full((20, 20), 255, np.uint8))
    (folder / "normal" / "normal (1).png").write_bytes(b"")
    arguments = ["split", str(folder), "--out", str(out), "--fractions", "0.5", "0.25", "0.25"]
    assert "--on-problem skip" in str(CliRunner().invoke(app, arguments).exception)
    done = CliRunner().invoke(app, [*arguments, "--on-problem", "skip"])
    assert done.exit_code == 0, done.output
    command = Command(data=str(folder), split=str(out), on_problem="skip", resize_masks=True)
    parts = command.parts()
    scans = replace(parts.train, samples=tuple(one for part in parts for one in part))
    assert len(scans) == 11
    assert len(scans.check()) == 11
    with pytest.raises(DatasetError, match="--resize-masks"):
        replace(scans, resize_masks=False).check()
