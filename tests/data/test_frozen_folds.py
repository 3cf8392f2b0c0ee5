"""Frozen folds: those that come with the package, and a file that the script writes of made scans."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import save
from made_twins import scan
from PIL import Image

import bcdseg
from bcdseg.data.dataset import Dataset
from bcdseg.data.public_sets import frozen_folds
from bcdseg.data.public_sets.frozen_folds import FILES, read_scans
from bcdseg.errors import DatasetError, DataWarning, OptionError

ROOT = Path(__file__).parents[2]
SCANS = {"busi-v1": 626, "bus-bra-v1": 1362, "bus-uclm-v1": 560}


@pytest.mark.parametrize("name", sorted(SCANS))
def test_folds_of_public_sets_come_with_the_package(name: str) -> None:
    scans = read_scans(FILES[name])
    assert len({scan.name for scan in scans}) == SCANS[name]
    assert sorted({scan.fold for scan in scans}) == [0, 1, 2, 3, 4]
    folds_of: dict[int | None, set[int]] = {}
    for one in scans:
        folds_of.setdefault(one.group, set()).add(one.fold)
    folds_of.pop(None, None)
    assert all(len(folds) == 1 for folds in folds_of.values())
    assert sum(path.stat().st_size for path in FILES.values()) < 400_000


def test_the_sample_scans_are_found_in_busi() -> None:
    data = bcdseg.open_dataset(ROOT / "data/sample")
    with pytest.raises(DatasetError, match=r"busi-v1: sample has other scans .*: 608 of the 626 listed scans are missing \(benign"):
        bcdseg.load_folds("busi-v1", data)
    with pytest.warns(DataWarning, match="The 18 scans that both have are used"):
        folds = bcdseg.load_folds("busi-v1", data, on_problem="skip")
    fold_of = {one.name: one.fold for one in read_scans(FILES["busi-v1"])}
    assert {sample.image.stem: number for number, (_, test) in enumerate(folds) for sample in test} == {
        sample.image.stem: fold_of[sample.image.stem] for sample in data
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return scans of two classes; the first two scans are copies with two labels."""
    folder = tmp_path_factory.mktemp("made")
    for number in range(8):
        for label in ("benign", "malignant"):
            seed = 0 if number == 0 else 100 * (label == "malignant") + number
            save(folder / label / f"{label} ({number}).png", scan(seed, 128, 160))
    return folder


@pytest.fixture(autouse=True)
def frozen(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    script: dict[str, Any] = runpy.run_path(str(ROOT / "scripts/freeze_folds.py"))
    path = tmp_path / "made-v1.json"
    path.write_text(script["content"]("made-v1", bcdseg.open_dataset(made), resized=False), "utf-8")
    monkeypatch.setitem(FILES, "made-v1", path)
    return path


def fold_of(folds: list[tuple[Dataset, Dataset]]) -> dict[str, int]:
    return {sample.image.stem: number for number, (_, test) in enumerate(folds) for sample in test}


def test_each_scan_is_in_one_test_part_and_copies_are_together(made: Path) -> None:
    data = bcdseg.open_dataset(made)
    folds = bcdseg.load_folds("made-v1", data)
    assert Counter(one for _, test in folds for one in test.ids) == Counter(data.ids)
    assert all(sorted([*train.ids, *test.ids]) == sorted(data.ids) for train, test in folds)
    assert fold_of(folds)["benign (0)"] == fold_of(folds)["malignant (0)"]
    conflicts = [sample.image.stem for _, test in folds for sample in test if "label_conflict" in sample.facts]
    assert sorted(conflicts) == ["benign (0)", "malignant (0)"]


def test_a_split_tests_on_one_fold_and_validates_on_the_next(made: Path) -> None:
    data = bcdseg.open_dataset(made)
    folds = bcdseg.load_folds("made-v1", data)
    parts = bcdseg.load_split("made-v1", data, fold=4)
    assert parts.test.ids == folds[4][1].ids
    assert parts.val.ids == folds[0][1].ids
    assert len(parts.train) + len(parts.val) + len(parts.test) == len(data)
    assert bcdseg.load_split("made-v1", data).test.ids == folds[0][1].ids
    bcdseg.check_disjoint(train=parts.train, val=parts.val, test=parts.test)
    with pytest.raises(OptionError, match="has the folds 0 to 4"):
        bcdseg.load_split("made-v1", data, fold=5)


def test_scans_are_found_under_other_names_and_sizes(made: Path, tmp_path: Path) -> None:
    expected = fold_of(bcdseg.load_folds("made-v1", bcdseg.open_dataset(made)))
    renamed = {}
    for number, path in enumerate(sorted(made.rglob("*.png"))):
        copy = tmp_path / "copy" / path.parent.name / (f"x{number}.png" if number % 2 else path.name)
        pixels = Image.open(path)
        save(copy, np.asarray(pixels if number % 3 else pixels.resize((200, 100), Image.Resampling.BILINEAR)))
        renamed[copy.stem] = path.stem
    found = fold_of(bcdseg.load_folds("made-v1", bcdseg.open_dataset(tmp_path / "copy")))
    assert {renamed[name]: fold for name, fold in found.items()} == expected


def test_unknown_and_missing_scans_are_named(made: Path, tmp_path: Path) -> None:
    for path in sorted(made.rglob("*.png"))[1:]:
        save(tmp_path / "other" / path.relative_to(made), np.asarray(Image.open(path)))
    save(tmp_path / "other/benign/new.png", scan(999, 128, 160))
    data = bcdseg.open_dataset(tmp_path / "other")
    with pytest.raises(DatasetError) as caught:
        bcdseg.load_folds("made-v1", data)
    assert "1 of its scans are not in the list (benign/new.png)" in str(caught.value)
    assert "1 of the 16 listed scans are missing" in str(caught.value)
    with pytest.warns(DataWarning, match="The 15 scans that both have are used"):
        parts = bcdseg.load_split("made-v1", data, on_problem="skip")
    assert sum(map(len, parts)) == 15
    nothing = bcdseg.open_dataset({"image": [scan(998, 128, 160)], "label": ["benign"]})
    with pytest.raises(DatasetError, match="16 of the 16"):
        bcdseg.load_folds("made-v1", nothing, on_problem="skip")


def test_names_and_options_are_checked(made: Path, tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made)
    with pytest.raises(OptionError, match="'bus-bra-v1', 'bus-uclm-v1', 'busi-v1'"):
        bcdseg.load_folds("busi-v2", data)
    with pytest.raises(OptionError, match="are for frozen folds"):
        bcdseg.load_split(tmp_path / "split.json", data, fold=1)


def test_released_folds_are_not_replaced(made: Path, monkeypatch: pytest.MonkeyPatch, frozen: Path) -> None:
    script = runpy.run_path(str(ROOT / "scripts/freeze_folds.py"))
    monkeypatch.setattr(frozen_folds, "__file__", str(frozen.parent / "frozen_folds.py"))
    monkeypatch.setattr("sys.argv", ["freeze_folds.py", "made-v1", str(made)])
    with pytest.raises(bcdseg.errors.OutputExistsError):
        script["main"]()
