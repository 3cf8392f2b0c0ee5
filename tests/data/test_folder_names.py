"""Folders of patients and of hospitals around class folders: none of them is a class, and none is ignored silently."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import pytest
from made import busi, save, scan

import bcdseg
from bcdseg.errors import DataWarning

PATIENTS = ("benign/P01/1.png", "benign/P01/2.png", "benign/P02/3.png", "malignant/P03/4.png")
LABELS_AND_GROUPS = [("benign", "P01"), ("benign", "P01"), ("benign", "P02"), ("malignant", "P03")]


def write(folder: Path, images: Sequence[str], masks: Sequence[str] = ()) -> Path:
    for seed, name in enumerate(images):
        save(folder / name, scan(seed)[0])
    for seed, name in enumerate(masks):
        save(folder / name, scan(seed)[1])
    return folder


def labels_and_groups(folder: Path, layout: str = "auto") -> list[tuple[str | None, str | None]]:
    return [(sample.label, sample.group) for sample in bcdseg.open_dataset(folder, layout)]


@pytest.mark.parametrize("part", ["", "train/"])
def test_patients_in_class_folders_are_groups(tmp_path: Path, part: str) -> None:
    write(tmp_path, [part + name for name in PATIENTS])
    assert labels_and_groups(tmp_path) == LABELS_AND_GROUPS
    assert {sample.part for sample in bcdseg.open_dataset(tmp_path)} == {"train" if part else None}


def test_patients_in_class_folders_keep_their_masks(tmp_path: Path) -> None:
    write(tmp_path / "next", PATIENTS, [name.replace(".png", "_mask.png") for name in PATIENTS])
    write(tmp_path / "side", [f"images/{name}" for name in PATIENTS], [f"masks/{name}" for name in PATIENTS])
    for name in ("next", "side"):
        assert labels_and_groups(tmp_path / name) == LABELS_AND_GROUPS
        assert all(len(sample.masks) == 1 for sample in bcdseg.open_dataset(tmp_path / name))


def test_patients_whose_files_have_the_same_names_are_groups(tmp_path: Path) -> None:
    write(tmp_path, ["benign/P01/1.png", "benign/P02/1.png", "malignant/P03/1.png"])
    expected = [("benign", "P01"), ("benign", "P02"), ("malignant", "P03")]
    assert labels_and_groups(tmp_path) == expected
    assert labels_and_groups(tmp_path, "class_folders") == expected


def test_more_patients_than_there_can_be_classes_are_groups(tmp_path: Path) -> None:
    write(tmp_path, [f"benign/{number}/scan.png" for number in range(110)])
    data = bcdseg.open_dataset(tmp_path)
    assert data.classes == ("benign",)
    assert len({sample.group for sample in data}) == 110


def test_finer_classes_in_class_folders_are_not_patients(tmp_path: Path) -> None:
    write(tmp_path, ["benign/BIRADS2/1.png", "benign/BIRADS3/2.png", "malignant/BI-RADS5/3.png"])
    with pytest.warns(DataWarning, match="aren't used, neither as labels nor as groups"):
        assert {group for _, group in labels_and_groups(tmp_path)} == {None}


def test_a_split_keeps_the_patients_of_class_folders_whole(tmp_path: Path) -> None:
    write(tmp_path, [f"{label}/P{label[0]}{number // 2}/{number}.png" for label in ("benign", "malignant") for number in range(8)])
    parts = bcdseg.split(bcdseg.open_dataset(tmp_path), (0.5, 0.25, 0.25))
    groups = [{sample.image.parent.name for sample in part} for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 8


def test_one_folder_of_the_same_name_in_each_class_is_only_a_location(tmp_path: Path) -> None:
    write(tmp_path, ["benign/resized_256/a.png", "malignant/resized_256/b.png"])
    assert labels_and_groups(tmp_path) == [("benign", None), ("malignant", None)]


def test_finer_classes_in_class_folders_are_labels_and_the_others_are_named(tmp_path: Path) -> None:
    write(tmp_path, ["benign/cyst/1.png", "benign/fibroadenoma/2.png", "malignant/IDC/3.png"])
    with pytest.warns(DataWarning, match=r"folders that aren't used, neither as labels nor as groups: benign, malignant"):
        assert labels_and_groups(tmp_path) == [("cyst", None), ("fibroadenoma", None), ("IDC", None)]


@pytest.mark.parametrize(
    ("image", "mask"), [("{}/{}/images/1.png", "{}/{}/masks/1.png"), ("{}/{}/1.png", "{}/{}/1_mask.png"), ("{}/{}/1.png", None)]
)
def test_folders_around_class_folders_are_named_in_a_warning(tmp_path: Path, image: str, mask: str | None) -> None:
    places = [("P01", "benign"), ("P02", "malignant"), ("P02", "benign")]
    write(tmp_path, [image.format(*place) for place in places], [mask.format(*place) for place in places] if mask else [])
    with pytest.warns(DataWarning, match=r"folders that aren't used, neither as labels nor as groups: P01, P02.*Dataset\.to_csv"):
        data = bcdseg.open_dataset(tmp_path)
    assert sorted(sample.label or "" for sample in data) == ["benign", "benign", "malignant"]


def test_a_single_folder_around_class_folders_is_only_a_location(tmp_path: Path) -> None:
    busi(tmp_path / "hospital 1" / "2023")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {group for _, group in labels_and_groups(tmp_path)} == {None}


def test_umlauts_of_macos_and_of_other_systems_are_the_same_names(tmp_path: Path) -> None:
    names = [f"Zoë/Müller {number}.png" for number in (1, 2)]
    masks = [normalize("NFD", f"{name[:-4]}_mask.png") for name in names]
    for data in (
        write(tmp_path / "side", [f"images/{name}" for name in names], [f"masks/{normalize('NFD', name)}" for name in names]),
        write(tmp_path / "next", [f"benign/{names[0]}", f"malignant/{names[1]}"], [f"benign/{masks[0]}", f"malignant/{masks[1]}"]),
    ):
        assert [len(sample.masks) for sample in bcdseg.open_dataset(data)] == [1, 1]
