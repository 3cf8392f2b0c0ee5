"""What README and docs show about predicting runs as it stands there."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import pytest
from made import busi

import bcdseg

ROOT = Path(__file__).parents[1]
TAKES_FILES = "08_onnx_without_torch.py"  # run in tests/export
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", ["docs/how-to/predict.md"])
def test_the_blocks_of_a_page_run_one_after_another(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        exec(compile(block, page, "exec"), names)  # the pages are ours
    assert len(list((tmp_path / "results").rglob("*_mask.png"))) == 18


@pytest.mark.parametrize("page", ["docs/how-to/data.md", "docs/how-to/audit.md"])
def test_the_blocks_about_data_run_on_made_data(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busi(tmp_path / "Dataset_BUSI_with_GT", (8, 8, 8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        exec(compile(block, page, "exec"), names)
    assert {"report", "split.json"} & {path.name for path in tmp_path.iterdir()}


def test_the_blocks_about_export_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    for block in BLOCK.findall((ROOT / "docs/how-to/export.md").read_text(encoding="utf-8")):
        exec(compile(block, "export.md", "exec"), names)
    assert {"model.onnx"} <= {path.name for path in tmp_path.iterdir()}


def test_the_block_of_the_readme_about_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busi(tmp_path / "Dataset_BUSI_with_GT", (8, 8, 8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {"bcdseg": bcdseg}
    exec(compile(BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[1], "README.md", "exec"), names)
    assert all(names[part] for part in ("train", "val", "test"))


def test_the_first_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0], "README.md", "exec"), {})
    assert (tmp_path / "outlined.png").is_file()


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py") if path.name != TAKES_FILES))
def test_the_examples_run(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", [example])
    runpy.run_path(str(ROOT / "examples" / example))
    assert capsys.readouterr().out
    assert any((tmp_path / "example-output").iterdir())
