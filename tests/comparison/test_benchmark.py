"""Recipes on the same folds: measures, stored results, and resuming a stopped benchmark."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
from typer.testing import CliRunner

import bcdseg
from bcdseg.cli import app
from bcdseg.comparison import benchmark
from bcdseg.comparison.plan import make_plan
from bcdseg.comparison.store import load_result
from bcdseg.errors import DatasetError, OptionError, OutputExistsError
from bcdseg.training.recipes import Recipe, recipe

COUNTS = (12, 14, 13)
COPIES = [[f"benign/benign ({at}).png", f"benign/benign ({at + 6}).png"] for at in range(2, 7)]
NETWORK = {"encoder": "plain_cnn", "size": 32}
TRAINING = {"epochs": 1, "batch_size": 16, "calibrate": False, "pictures": False}
BARE = Recipe(name="bare", summary="", source="", network={**NETWORK, "decoder": None, "head": "global"}, training=TRAINING)
JOINT = Recipe(
    name="bare+mask", summary="", source="", network={**NETWORK, "decoder_channels": (16, 8, 8, 4, 4)}, training=TRAINING
)
QUICK: dict[str, Any] = {"progress": False, "device": "cpu", "workers": 0, "duplicates": COPIES, "draws": 200}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Dataset:
    return bcdseg.open_dataset(made.busi(tmp_path_factory.mktemp("busi"), COUNTS))


@pytest.fixture(scope="module")
def finished(data: bcdseg.Dataset, tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Benchmark:
    out = tmp_path_factory.mktemp("benchmark")
    return bcdseg.benchmark(data, [BARE, JOINT], folds=2, out=out, show_leak=True, **QUICK)


def test_each_scan_is_measured_once_by_a_model_that_has_not_seen_it(finished: bcdseg.Benchmark, data: bcdseg.Dataset) -> None:
    for name in ("bare", "bare+mask"):
        entry = finished[name]
        assert sorted(entry.cases.ids) == sorted(data.ids)
        for fold in entry.folds:
            rows = (finished.folder / name / f"fold-{fold.number}" / "run" / "seen.csv").read_text().splitlines()[1:]
            seen = {row[1] for row in csv.reader(rows)}
            assert seen.isdisjoint(fold.cases.ids)
            assert len(seen) + len(fold.cases) == len(data)
            assert not [pair for pair in COPIES if len(seen.intersection(pair)) == 1]
    assert len(set(finished["bare"].cases.groups)) == len(data) - len(COPIES)


def test_a_recipe_without_masks_has_no_measure_of_them_and_is_compared_in_the_rest(finished: bcdseg.Benchmark) -> None:
    assert "dice" not in finished["bare"].estimates
    assert finished["bare+mask"].estimates["dice"].n == 27
    (pair,) = finished.pairs
    assert (pair.first, pair.second) == ("bare", "bare+mask")
    assert "balanced_accuracy" in pair.differences
    assert "dice" not in pair.differences
    assert "joint_score" not in pair.differences  # of one task it is another score
    assert pair.differences["accuracy"].first == finished["bare"].estimates["accuracy"].value


def test_the_leak_is_shown_on_the_same_scans(finished: bcdseg.Benchmark) -> None:
    assert [entry.recipe for entry in finished.leaky] == ["bare", "bare+mask"]
    torn = [
        pair
        for pair in COPIES
        if len({fold.number for fold in finished.leaky[0].folds for one in fold.cases.ids if one in pair}) == 2
    ]
    assert torn
    assert finished.leaks[1].second == "bare+mask, random split"
    assert finished.leaks[1].differences["dice"].first == finished["bare+mask"].estimates["dice"].value
    table = finished.table()
    assert "### bare+mask against bare" in table
    assert "| | grouped folds | random folds |".replace("| |", "|  |") in table[table.index("Results on random splits") :]


def test_costs_are_those_of_the_network(finished: bcdseg.Benchmark) -> None:
    assert list(finished) == ["bare", "bare+mask"]
    bare, joint = finished["bare"].cost, finished["bare+mask"].cost
    model = JOINT.model(("normal", "benign", "malignant"))
    assert joint.parameters == sum(tensor.numel() for tensor in model.network.parameters()) > bare.parameters
    assert joint.gflops > bare.gflops > 0
    assert joint.seconds_per_scan > 0
    assert bare.training_minutes > 0


def test_the_files_hold_the_same_as_the_result(finished: bcdseg.Benchmark) -> None:
    rows = list(csv.DictReader((finished.folder / "benchmark.csv").read_text().splitlines()))
    (accuracy,) = [row for row in rows if (row["recipe"], row["folds"], row["measure"]) == ("bare", "grouped", "accuracy")]
    assert float(accuracy["value"]) == finished["bare"].estimates["accuracy"].value
    content = json.loads((finished.folder / "benchmark.json").read_text())
    assert [entry["folds"] for entry in content["entries"]] == ["grouped", "grouped", "leaky", "leaky"]
    assert "NaN" not in (finished.folder / "benchmark.json").read_text()
    assert content["entries"][0]["each_fold"][0]["measures"].keys() >= {"accuracy", "ece"}
    for name in ("cases.csv", "leaky-cases.csv"):
        assert len((finished.folder / "bare" / name).read_text().splitlines()) == 1 + sum(COUNTS)
    text = (finished.folder / "benchmark.md").read_text()
    assert text == finished.table()
    assert "| Accuracy ↑ |" in text
    assert "nan" not in text.lower().replace("malignant", "")


def test_a_finished_benchmark_is_read_and_not_run_again(
    finished: bcdseg.Benchmark, data: bcdseg.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = bcdseg.benchmark(data, [BARE, JOINT], folds=2, out=finished.folder, show_leak=True, **QUICK)
    assert again.table() == finished.table()
    first = bcdseg.benchmark(data, [JOINT], folds=2, out=finished.folder, copies="first", **QUICK)
    assert len(first["bare+mask"].cases) == len(data) - len(COPIES)


def test_a_stopped_benchmark_resumes_and_ends_like_one_that_was_not_stopped(
    finished: bcdseg.Benchmark, data: bcdseg.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = benchmark.fit, []

    def dies_after_training_the_second(*arguments: Any, **options: Any) -> Any:
        run = real(*arguments, **options)
        calls.append(run)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run

    monkeypatch.setattr(benchmark, "fit", dies_after_training_the_second)
    with pytest.raises(KeyboardInterrupt):
        bcdseg.benchmark(data, [BARE], folds=2, out=tmp_path, **QUICK)
    assert load_result(tmp_path / "bare" / "fold-1") is not None
    assert load_result(tmp_path / "bare" / "fold-2") is None
    monkeypatch.setattr(benchmark, "fit", real)
    done = bcdseg.benchmark(data, [BARE], folds=2, out=tmp_path, **QUICK)
    assert done["bare"].cases.ids == finished["bare"].cases.ids
    assert done["bare"].cases.probabilities == pytest.approx(finished["bare"].cases.probabilities, abs=1e-5)


def test_other_options_folds_or_data_in_the_same_folder_are_refused(
    finished: bcdseg.Benchmark, data: bcdseg.Dataset, tmp_path: Path
) -> None:
    out = finished.folder
    with pytest.raises(OptionError, match=r"bare: its folds were run with other options: epochs=2 \(1 there\)"):
        bcdseg.benchmark(data, [BARE], folds=2, out=out, epochs=2, **QUICK)
    with pytest.raises(OptionError, match=r"other options: classes=\['benign', 'malignant'\] \(None there\)"):
        bcdseg.benchmark(data, [replace(BARE, classes=("benign", "malignant"))], folds=2, out=out, **QUICK)
    with pytest.raises(OutputExistsError, match=r"folds=3 \(2 there\)"):
        bcdseg.benchmark(data, [BARE], folds=3, out=out, **QUICK)
    with pytest.raises(OutputExistsError, match="other scans, labels, masks or groups"):
        bcdseg.benchmark(data.select(data.ids[1:]), [BARE], folds=2, out=out, **QUICK)
    damaged = tmp_path / "copy"
    shutil.copytree(out, damaged)
    (damaged / "bare" / "fold-1" / "result.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"fold-1.result.json: can't be read .* Remove it"):
        bcdseg.benchmark(data, [BARE], folds=2, out=damaged, **QUICK)


def test_impossible_options_are_reported_before_anything_is_trained(
    data: bcdseg.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "fit", lambda *_, **__: pytest.fail("trained"))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"recipes": ["defaults"]}, "Did you mean 'default'"),
        ({"recipes": []}, "give one or more"),
        ({"recipes": [None]}, "no recipe has this name"),
        ({"recipes": [BARE, BARE]}, "each once"),
        ({"recipes": [BARE], "copies": "none"}, "copies='none': choose one of 'all', 'first'"),
        ({"recipes": [BARE], "val": 1.5}, "val=1.5"),
        ({"recipes": [BARE], "epoch": 3}, "epoch"),
        ({"recipes": [BARE], "draws": -1}, "draws=-1: give a whole number"),
        ({"recipes": [BARE], "folds": 20}, "Choose fewer folds"),
        ({"recipes": [BARE], "folds": 1}, "folds=1: give a whole number of 2 or more"),
        ({"recipes": [BARE], "folds": 2.5}, r"folds=2\.5: give a whole number"),
        ({"recipes": [BARE], "folds": "busi-v1"}, "load_folds"),
    ]
    for options, message in cases:
        with pytest.raises(OptionError, match=message):
            bcdseg.benchmark(data, out=tmp_path / "new", **{"folds": 2, **QUICK, **options})
    with pytest.raises(OptionError, match="open_dataset"):
        bcdseg.benchmark("folder", [BARE], out=tmp_path / "new")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
    unlabelled = replace(data, samples=tuple(replace(one, label=None) for one in data))
    with pytest.raises(OptionError, match="the data have no labels"):
        bcdseg.benchmark(unlabelled, [BARE], folds=2, out=tmp_path / "new", **QUICK)
    benign = data.select(one for one in data.ids if "benign" in one or "normal" in one)
    with pytest.raises(OptionError, match="cnn-binary: is for benign, malignant"):
        bcdseg.benchmark(benign, [recipe("cnn-binary")], folds=2, out=tmp_path / "new", **QUICK)


def test_folds_follow_from_the_seed_and_tear_no_group(data: bcdseg.Dataset) -> None:
    plans = [make_plan(data, 3, seed=seed, val=0.2, leaky=False, duplicates=COPIES) for seed in (0, 0, 1)]
    assert plans[0].facts == plans[1].facts != plans[2].facts
    for fold in plans[0].folds:
        parts = [set(part.ids) for part in (fold.train, fold.val, fold.test)]
        assert set.union(*parts) == set(data.ids)
        assert sum(map(len, parts)) == len(data)
        assert all(part.classes == data.classes for part in (fold.train, fold.val, fold.test))
        assert all(sum(not part.isdisjoint(pair) for part in parts) == 1 for pair in COPIES)
        bcdseg.check_disjoint(train=fold.train, val=fold.val, test=fold.test)


@pytest.fixture
def _tiny_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the default recipe small, since the command line takes recipes by name."""
    from bcdseg.training import recipes

    small = Recipe(name="default", summary="", source="", network=JOINT.network, training=TRAINING)
    monkeypatch.setattr(recipes, "recipes", lambda: (small,))


@pytest.mark.usefixtures("_tiny_default")
def test_the_command_runs_prints_and_writes(data: bcdseg.Dataset, tmp_path: Path) -> None:
    folder = data.samples[0].image.parents[1]
    arguments = ["benchmark", str(folder), "--folds", "2", "--out", str(tmp_path / "out"), "--draws", "100"]
    arguments += ["--set", "progress=false", "--set", "device=cpu", "--set", "workers=0", "--set", "epochs=1"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Balanced accuracy" in result.output
    assert {"benchmark.md", "benchmark.csv", "benchmark.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    for wrong in ("epochs20", "seed=3"):
        with pytest.raises(OptionError, match=wrong.partition("=")[0]):
            CliRunner().invoke(app, [*arguments, "--set", wrong], catch_exceptions=False)


def test_pooled_cases_survive_their_file_to_the_last_bit(finished: bcdseg.Benchmark) -> None:
    entry = finished["bare+mask"]
    again = load_result(finished.folder / "bare+mask" / "fold-1")
    assert again is not None
    assert np.array_equal(again.cases.probabilities, entry.folds[0].cases.probabilities)
    assert np.array_equal(again.cases.outline["hd95_px"], entry.folds[0].cases.outline["hd95_px"], equal_nan=True)
