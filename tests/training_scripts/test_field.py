"""The script of the table of the field, run on made scans of four data sets from the data folder to the page."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import busi, save, scan
from made_folders import write_table

import bcdseg

FIELD = Path(__file__).parents[2] / "training" / "field"
MODULES = ("figures", "page", "parts", "picture", "plan", "run", "speed", "store")


@pytest.fixture
def field(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that runs the script with its arguments, on small scans and without ImageNet weights."""
    monkeypatch.syspath_prepend(FIELD)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)  # a module of the same name from another folder
    # Offline by declaration: without it the hub's client tries again for most of a minute.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    recipe = bcdseg.recipe

    def small(name: str) -> bcdseg.Recipe:
        found = recipe(name)
        return replace(found, network={**found.network, "size": 32})

    monkeypatch.setattr(bcdseg, "recipe", small)

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
        importlib.import_module("run").main()

    yield run
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write made scans with the layouts of the four data sets."""
    folder = tmp_path / "data"
    busi(folder / "busi256", (12, 12, 12))
    rows = [["image", "label", "patient"]]
    for number in range(24):
        label = ("benign", "malignant")[number % 2]
        save(folder / "mias150" / label / f"{number}.png", scan(number, label)[0])
        rows.append([f"{label}/{number}.png", label, f"p{number // 4}"])
    write_table(folder / "mias150" / "labels.csv", rows)
    uclm = [["Image", "Doppler", "Marks", "Label"]]
    for number in range(6):
        label = ("Normal", "Benign", "Malignant")[number % 3]
        pixels, mask = scan(40 + number, label.lower())
        name = f"P{number}_000.png"
        save(folder / "bus_uclm" / "images" / name, pixels)
        colour = mask[..., None] * np.uint8([0, 255, 0] if label == "Benign" else [255, 0, 0])
        save(folder / "bus_uclm" / "masks" / name, colour)
        uclm.append([name, "No", "No", label])
    write_table(folder / "bus_uclm" / "INFO.csv", uclm)
    return folder


@pytest.mark.slow
def test_runs_are_kept_and_become_a_page_that_lists_what_is_missing(
    field: Callable[..., None], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, docs = tmp_path / "work", tmp_path / "docs"
    docs.mkdir()
    few = ("--seeds", 1, "--epochs", 1, "--only", "cnn-3class", "cnn-3class+mask", "mobilenetv2-binary")
    field(data, work, *few, "--budget-seconds", 0)
    assert "the same command resumes" in capsys.readouterr().out
    assert not list(work.glob("*.json"))
    field(data, work, *few)
    facts = json.loads((work / "cnn-3class-busi256-grouped-0.json").read_text())
    assert (facts["epochs run"], facts["epochs claimed"]) == (1, 200)
    assert facts["scans"]["bus_uclm"] == 6
    tables = json.loads(gzip.decompress((work / "cnn-3class+mask-busi256-random-0.cases.json.gz").read_bytes()))
    right = [
        max(zip(case["probabilities"], tables["held back"]["classes"], strict=True))[1] == case["label"]
        for case in tables["held back"]["cases"]
    ]
    figures = json.loads((work / "cnn-3class+mask-busi256-random-0.json").read_text())["figures"]["held back"]
    assert figures["accuracy"]["value"] == pytest.approx(sum(right) / len(right), abs=1e-4)
    before = {path: path.stat().st_mtime_ns for path in work.glob("*.json")}
    field(data, work, *few)
    assert {path: path.stat().st_mtime_ns for path in work.glob("*.json")} == before  # nothing is run twice
    assert not list((work / "runs").iterdir())
    field(data, work, "--seeds", 1, "--page", docs)
    page = (docs / "what-98-percent-is-worth.md").read_text()
    assert "**98 % accuracy is claimed for systems like `cnn-3class`" in page
    assert "`vgg16-binary` (0 to 0)" in page
    assert (docs / "what-98-percent-is-worth.png").stat().st_size > 10_000
