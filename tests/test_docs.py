"""What README and docs show about predicting runs as it stands there."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

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


def test_the_blocks_about_large_images_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCK.findall((ROOT / "docs/how-to/large-images.md").read_text(encoding="utf-8")):
        exec(compile(block, "large-images.md", "exec"), names)
    assert names["scan"].windows


@pytest.mark.parametrize("page", ["docs/how-to/data.md", "docs/how-to/audit.md", "docs/how-to/evaluate.md", "docs/how-to/train.md"])
def test_the_blocks_about_data_run_on_made_data(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busi(tmp_path / "Dataset_BUSI_with_GT", (8, 8, 8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        exec(compile(block, page, "exec"), names)
    assert {"report", "split.json", "runs"} & {path.name for path in tmp_path.iterdir()}


def test_the_blocks_about_export_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    for block in BLOCK.findall((ROOT / "docs/how-to/export.md").read_text(encoding="utf-8")):
        exec(compile(block, "export.md", "exec"), names)
    assert {"model.onnx"} <= {path.name for path in tmp_path.iterdir()}


def test_the_blocks_about_recipes_run_on_made_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busi(tmp_path / "Dataset_BUSI_with_GT", (6, 6, 6))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    for block in BLOCK.findall((ROOT / "docs/how-to/recipes.md").read_text(encoding="utf-8")):
        exec(compile(block, "docs/how-to/recipes.md", "exec"), names)
    assert names["tuned"].model.classes == ("normal", "benign", "malignant")
    assert bcdseg.load("both").classes == names["taught"].model.classes == ("benign", "malignant")
    assert {path.name for path in (tmp_path / "runs").iterdir()} >= {"plain_cnn-1", "plain_cnn-2", "plain_cnn-3", "mobilenet_v2-1"}


def test_the_block_about_benchmarks_runs_on_made_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busi(tmp_path / "Dataset_BUSI_with_GT", (6, 6, 6))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    quick = {"resnet50-": "cnn-", ', "default"]': "]", '"default")': '"cnn-3class+mask")', "folds=5": "folds=2, size=32, epochs=1"}
    names: dict[str, Any] = {}
    for block in BLOCK.findall((ROOT / "docs/how-to/benchmark.md").read_text(encoding="utf-8")):
        for slow, fast in quick.items():
            assert slow in block
            block = block.replace(slow, fast)
        exec(compile(block, "docs/how-to/benchmark.md", "exec"), names)
    assert [entry.recipe for entry in names["result"].entries] == ["cnn-3class", "cnn-3class+mask"]
    assert (tmp_path / "benchmark" / "benchmark.md").read_text(encoding="utf-8") == names["result"].table()


def test_the_blocks_of_the_readme_about_data_and_training_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busi(tmp_path / "Dataset_BUSI_with_GT", (8, 8, 8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    quick = {'"resnet50"': '"plain_cnn", size=64', "epochs=60": "epochs=1"}
    names: dict[str, Any] = {"bcdseg": bcdseg}
    for block in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[1:]:
        for slow, fast in quick.items():
            block = block.replace(slow, fast)
        exec(compile(block, "README.md", "exec"), names)
    assert all(names[part] for part in ("train", "val", "test"))
    assert (tmp_path / "report" / "report.html").is_file()
    assert bcdseg.load("mine").classes == names["data"].classes


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
