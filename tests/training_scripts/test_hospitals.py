"""The scripts that make the default model, run on made scans of three hospitals: packed, trained, stopped, resumed, predicted."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import busi, save, scan
from made_folders import write_table
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2

HOSPITALS = Path(__file__).parents[2] / "training" / "hospitals"
MODULES = (
    "all_runs",
    "augment",
    "average",
    "choose_rules",
    "differences",
    "figures",
    "local_scans",
    "pack",
    "predict",
    "release",
    "report",
    "sampling",
    "teachers",
    "train",
    "transplant",
)
PATIENTS = 6
Script = Callable[..., None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Return a function that runs a script with its arguments."""
    monkeypatch.syspath_prepend(HOSPITALS)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)  # a module of the same name from another folder

    def run(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        importlib.import_module(name).main()

    yield run
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Write made scans with the layouts of BUSI, BUS-BRA and BUS-UCLM."""
    busi_native = busi(tmp_path / "busi_native", (PATIENTS, PATIENTS, PATIENTS))
    bra = [["ID", "Case", "Histology", "Pathology", "BIRADS", "Device", "Width", "Height", "Side", "BBOX"]]
    uclm = [["Image", "Doppler", "Marks", "Label"]]
    for patient in range(3 * PATIENTS):
        label = ("benign", "malignant")[patient % 2]
        pixels, mask = scan(20 + patient, label)
        save(tmp_path / "bus_bra" / "Images" / f"bus_{patient}-l.png", pixels)
        save(tmp_path / "bus_bra" / "Masks" / f"mask_{patient}-l.png", mask.astype(np.uint8) * 255)
        height, width = mask.shape
        bra.append([f"bus_{patient}-l", str(patient), "cyst", label, "3", "GE Logiq 7", str(width), str(height), "left", ""])
        label = ("Normal", "Benign", "Malignant")[patient % 3]
        pixels, mask = scan(40 + patient, label.lower())
        save(tmp_path / "bus_uclm" / "images" / f"P{patient}_000.png", pixels)
        colour = mask[..., None] * np.uint8([0, 255, 0] if label == "Benign" else [255, 0, 0])
        save(tmp_path / "bus_uclm" / "masks" / f"P{patient}_000.png", colour)
        uclm.append([f"P{patient}_000.png", "No", "No", label])
    write_table(tmp_path / "bus_bra" / "bus_data.csv", bra)
    write_table(tmp_path / "bus_uclm" / "INFO.csv", uclm)
    return [busi_native, tmp_path / "bus_bra", tmp_path / "bus_uclm"]


class _StoppedError(Exception):
    pass


@pytest.mark.slow
def test_a_training_that_was_stopped_resumes_to_the_same_weights_and_predicts_only_what_it_has_not_seen(
    script: Script, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, whole, stopped = tmp_path / "packed.npz", tmp_path / "whole", tmp_path / "stopped"
    script("pack", *folders, packed)
    stages = ["--stages", "32", "2", "48", "2", "--device", "cpu"]
    options = ["--leave-out", "bus-uclm", "--fold", "0", "--transplants", "0.5", "--balanced", "--softmax", *stages]
    script("train", packed, whole, *options)

    module = importlib.import_module("train")
    losses, steps = module.losses, iter(range(4))

    def losses_of_two_steps(*arguments: Any) -> Any:
        if next(steps) == 2:
            raise _StoppedError
        return losses(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module, "SAVE_EVERY", 1)
        patched.setattr(module, "losses", losses_of_two_steps)
        with pytest.raises(_StoppedError):
            script("train", packed, stopped, *options)
    script("train", packed, stopped, *options)
    expected, found = (load_file(run / "network.safetensors") for run in (whole, stopped))
    assert all(found[name].equal(expected[name]) for name in expected)

    script("predict", packed, whole, *options[:4], "--sizes", "48")
    with np.load(whole / "outputs-48.npz") as outputs, np.load(packed) as scans:
        unseen = (scans["hospitals"] == 2) | (scans["folds"] == 0)
        assert outputs["rows"].tolist() == np.flatnonzero(unseen).tolist()
        assert np.isfinite(outputs["decisions"]).all()
        assert (outputs["decisions"][:, 0] == outputs["decisions"][:, 1]).all()  # one softmax decides on presence

    alone, taught = tmp_path / "alone", tmp_path / "taught"
    few = ["--fold", "0", "--start", whole / "network.safetensors", "--stages", "32", "2", "--device", "cpu"]
    script("train", packed, alone, *few)
    script("train", packed, taught, *few, "--teachers", whole / "network.safetensors", "bus-multi")
    before, after = (load_file(run / "network.safetensors") for run in (alone, taught))
    assert any(not after[name].equal(before[name]) for name in before)


@pytest.mark.slow
def test_all_runs_are_finished_one_after_the_other_and_only_once(
    script: Script, folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, runs = tmp_path / "packed.npz", tmp_path / "runs"
    script("pack", *folders, packed, "--side", "64")
    steps = ["--", "--stages", "32", "1", "--device", "cpu"]
    script("all_runs", packed, runs, "--only", "loho-busi", "--seconds", "0", *steps)
    assert "loho-busi: stopped" in capsys.readouterr().out
    script("all_runs", packed, runs, "--only", "loho-busi", *steps)
    assert "loho-busi: finished" in capsys.readouterr().out
    outputs = runs / "loho-busi" / "outputs-160.npz"
    with np.load(outputs) as arrays:
        assert arrays["masks"].shape[1:] == (64, 64)
    written = outputs.stat().st_mtime_ns
    script("all_runs", packed, runs, "--only", "loho-busi", "--means", *steps)
    assert outputs.stat().st_mtime_ns == written
    before, after, mean = (load_file(runs / part / "loho-busi" / "network.safetensors") for part in (".", "further", "means"))
    assert all(mean[name].allclose((before[name] + after[name]) / 2) for name in mean if mean[name].is_floating_point())
    second = tmp_path / "mobilenet.pth"
    torch.save(mobilenet_v2().state_dict(), second)
    script("all_runs", packed, runs, "--only", "loho-busi", "--second-teacher", second, *steps)
    assert all((runs / part / "loho-busi" / "outputs-160.npz").exists() for part in ("mobilenetv2", "taught-means"))
    assert outputs.stat().st_mtime_ns == written
    capsys.readouterr()
    script("differences", packed, runs / "loho-busi", runs / "loho-busi", runs / "means" / "loho-busi")
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows if "busi" in row[0]] == ["Dice", "missed", "presence AUC", "malignant/benign AUC"]

    results, few = tmp_path / "local.json", ["--seeds", "1", "--epochs", "1", "--draws", "20"]
    script("local_scans", packed, runs, "busi", folders[0], results, "--patients", "11", *few)
    found = json.loads(results.read_text())
    ways = ("rules fitted", "rules and class frequencies fitted", "trained further")
    assert list(found) == ["test", "none", *(f"{way}, 11, 0" for way in ways)]
    assert (found["test"]["scans"], found["trained further, 11, 0"]["scans"]) == (7, 11)
    capsys.readouterr()
    script("local_scans", packed, runs, "busi", folders[0], results, "--table")
    assert "| trained further | 11 | 11 |" in capsys.readouterr().out
    assert all("+0.000 (+0.000 to +0.000)" in row[3] for row in rows if row[2] != "nan")


@pytest.mark.slow
def test_a_training_starts_from_the_weights_of_another_and_both_are_averaged(
    script: Script, folders: list[Path], tmp_path: Path
) -> None:
    packed, first, further = tmp_path / "packed.npz", tmp_path / "first", tmp_path / "further"
    script("pack", *folders, packed)
    script("train", packed, first, "--fold", "0", "--stages", "32", "1", "--device", "cpu")
    start = first / "network.safetensors"
    script(
        "train",
        packed,
        further,
        "--fold",
        "0",
        "--stages",
        "32",
        "1",
        "--start",
        start,
        "--lr",
        "0",
        "--constant",
        "--device",
        "cpu",
    )
    expected, found = (load_file(run / "network.safetensors") for run in (first, further))
    weights = [name for name in expected if name.endswith("weight")]
    assert all(found[name].allclose(expected[name], atol=1e-6) for name in weights)

    script("average", first, further, "--out", tmp_path / "mean")
    mean, found = load_file(tmp_path / "mean" / "network.safetensors"), load_file(further / "network.safetensors")
    buffer = next(name for name in mean if name.endswith("running_mean"))
    assert mean[buffer].allclose((expected[buffer] + found[buffer]) / 2)


@pytest.mark.parametrize("name", ["bus-bra", "bus-bra-busi-lite", "bus-bra-frequencies", "bus-uclm", "bus-uclm-sample"])
def test_the_page_on_local_scans_has_the_finished_results(script: Script, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (HOSPITALS.parents[1] / "docs" / "benchmarks" / "local-scans.md").read_text()
    hospital = next(one for one in ("bus-bra", "bus-uclm") if name.startswith(one))
    script("local_scans", "packed", "runs", hospital, "folder", HOSPITALS / "finished" / f"{name}.json", "--table")
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) > 3
    assert all(row.partition(" | ")[2] in page for row in rows[2:])
