"""Shards of an archive: each file in one of them, whoever starts first."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from bcdseg.batch.shards import Shard
from bcdseg.batch.storage import folder_of
from bcdseg.cli import app
from bcdseg.errors import InputError, OptionError, OutputExistsError

SCANS = 8


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(SCANS):
        Image.fromarray(np.full((70, 80), 20 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def _predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments), "--model", "busi-lite", "--no-overlay"])


def _sources(table: Path) -> list[str]:
    with table.open() as file:
        return [row["source"] for row in csv.DictReader(file)]


def _names(folder: Path) -> list[str]:
    return [Path(source).name for source in _sources(folder / "predictions.csv")]


def test_three_shards_predict_each_scan_once(scans: Path, tmp_path: Path) -> None:
    found: list[str] = []
    for index in (1, 2, 3):
        result = _predict(scans, "--shard", f"{index}/3", "--out", tmp_path / str(index))
        assert result.exit_code == 0, result.output
        if (tmp_path / str(index)).exists():
            found += _names(tmp_path / str(index))
    assert sorted(found) == sorted(path.name for path in scans.iterdir())


def _join(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["join", *map(str, arguments)])


def test_the_tables_of_all_shards_are_joined_to_that_of_one_run(scans: Path, tmp_path: Path) -> None:
    assert _predict(scans, "--out", tmp_path / "whole").exit_code == 0
    folders = [tmp_path / str(index) for index in (1, 2)]
    for index, folder in enumerate(folders, 1):
        assert _predict(scans, "--shard", f"{index}/2", "--out", folder).exit_code == 0
    out = tmp_path / "all.csv"
    assert _join(*reversed(folders), "--out", out).exit_code == 0
    whole = (tmp_path / "whole" / "predictions.csv").read_text().splitlines()
    assert sorted(out.read_text().splitlines()) == sorted(whole)
    assert out.read_text().splitlines()[0] == whole[0]
    assert isinstance(_join(*folders, "--out", out).exception, OutputExistsError)

    done = _join(folders[1], "--out", tmp_path / "part.csv", "--allow-missing")
    assert (done.exit_code, _names(folders[1])) == (0, [Path(row).name for row in _sources(tmp_path / "part.csv")])
    assert "missing: 1/2" in done.output


def test_tables_that_are_not_those_of_all_shards_are_not_joined(scans: Path, tmp_path: Path) -> None:
    first, other, again, finer = (tmp_path / name for name in ("first", "other", "again", "finer"))
    for folder, shard, *options in (
        (first, "1/2"),
        (other, "2/2", "--threshold", "0.4"),
        (again, "1/2"),
        (finer, next(f"{n}/3" for n in (1, 2, 3) if any(str(path) in Shard(n, 3) for path in scans.iterdir()))),
    ):
        assert _predict(scans, "--shard", shard, *options, "--out", folder).exit_code == 0
    unfinished = shutil.copytree(first, tmp_path / "unfinished")
    (unfinished / "predictions.csv").unlink()
    for folders, reason in (
        ([first], "2/2: this shard is missing"),
        ([first, other], "other: differs from .*first in threshold"),
        ([first, again], "again: is shard 1/2, and so is .*first"),
        ([first, finer], "the numbers of shards differ"),
        ([unfinished], "not finished"),
        ([scans], "contains no run of a shard"),
    ):
        error = _join(*folders, "--out", tmp_path / "all.csv").exception
        assert isinstance(error, InputError)
        assert re.search(reason, str(error))
    assert not (tmp_path / "all.csv").exists()


def test_an_empty_shard_is_nothing_to_do(scans: Path, tmp_path: Path) -> None:
    empty = next(n for n in range(1, 1001) if not any(str(path) in Shard(n, 1000) for path in scans.iterdir()))
    result = _predict(scans, "--shard", f"{empty}/1000", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "nothing to do" in result.output
    assert not (tmp_path / "out").exists()


def test_a_folder_of_one_shard_is_not_resumed_by_another(scans: Path, tmp_path: Path) -> None:
    other = next(index for index in (1, 2) if any(str(path) in Shard(index, 2) for path in scans.iterdir()))
    assert _predict(scans, "--shard", "1/1", "--out", tmp_path / "out").exit_code == 0
    result = _predict(scans, "--shard", f"{other}/2", "--out", tmp_path / "out", "--resume")
    assert isinstance(result.exception, OptionError)
    assert "shard '1/1'" in str(result.exception)


def test_new_files_do_not_move_others_to_another_shard() -> None:
    names = [f"archive/{number:05}.png" for number in range(3000)]
    sizes = [sum(name in Shard(index, 4) for name in names) for index in (1, 2, 3, 4)]
    assert sum(sizes) == 3000
    assert min(sizes) > 650


def test_masks_have_the_same_names_in_all_shards_and_when_files_arrive(tmp_path: Path) -> None:
    archive = tmp_path / "archive"

    def arrive(year: str) -> None:
        (archive / year).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(np.full((70, 80), 90, np.uint8)).save(archive / year / f"{number}.png")

    def run(*more: str) -> list[str]:
        for index in (1, 2):
            result = _predict(archive, "--shard", f"{index}/2", "--out", tmp_path / "out" / str(index), *more)
            assert result.exit_code == 0, result.output or result.exception
        masks = [path.relative_to(tmp_path / "out").parts[1:] for path in (tmp_path / "out").rglob("*_mask.png")]
        return sorted("/".join(parts) for parts in masks)

    arrive("2024")
    assert run() == ["2024/0_mask.png", "2024/1_mask.png"]
    arrive("2025")
    assert run("--resume") == ["2024/0_mask.png", "2024/1_mask.png", "2025/0_mask.png", "2025/1_mask.png"]


def test_names_are_counted_from_a_given_folder_also_at_an_address() -> None:
    files = ["s3://bucket/archive/2024/1.png", "s3://bucket/archive/2024/2.png"]
    assert folder_of(["s3://bucket/archive"], files) == Path("/s3/bucket/archive")
    for places in (["s3://bucket/archive/*/*.png"], files):
        assert folder_of(places, files) == Path("/s3/bucket/archive/2024")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "a/b", "-1/2", "1/2/3", "1.5/2", "¹/2"])
def test_a_shard_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="shard="):
        Shard.parse(text)
