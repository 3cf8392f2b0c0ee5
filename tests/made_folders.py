"""Ordinary folders of scans as users have them, made by a script: each with a table or with folders of its own names."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from made import save, scan

LABELS = ("benign", "benign", "malignant", "malignant")
PATIENTS = ("p1", "p1", "p2", "p3")


def pictures(folder: Path, names: Sequence[str]) -> None:
    """Write one scan of each name."""
    for seed, name in enumerate(names):
        save(folder / name, scan(seed)[0])


def masks(folder: Path, names: Sequence[str]) -> None:
    """Write the mask of each of these scans, as 0 and 1 or as black and white."""
    for seed, name in enumerate(names):
        save(folder / name, scan(seed)[1])


def names(pattern: str = "{:03}.png", count: int = 4) -> list[str]:
    return [pattern.format(number) for number in range(1, count + 1)]


def write_table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Write a CSV table, or an Excel one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".xlsx":
        from openpyxl import Workbook

        book = Workbook()
        for row in rows:
            book.active.append(list(row))
        book.save(path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def table_next_to_folders(folder: Path, suffix: str = ".csv") -> Path:
    """Write ``images/``, ``masks/`` and a table ``patient,file,diagnosis`` of bare file names."""
    pictures(folder / "images", names())
    masks(folder / "masks", names())
    rows = [("patient", "file", "diagnosis"), *zip(PATIENTS, names(), LABELS, strict=True)]
    return write_table(folder / f"scans{suffix}", rows)


def table_next_to_class_folders(folder: Path) -> Path:
    """Write folders of classes, and a table whose labels differ from them."""
    pictures(folder / "benign", names("a{}.png", 2))
    pictures(folder / "malignant", names("b{}.png", 2))
    files = ["benign/a1.png", "benign/a2.png", "malignant/b1.png", "malignant/b2.png"]
    rows = [("PatientID", "Image Path", "Diagnosis"), *zip(PATIENTS, files, ("cyst", "cancer", "cancer", "cyst"), strict=True)]
    return write_table(folder / "truth.csv", rows)


def nnunet(folder: Path, description: bool = True) -> Path:
    """Write nnU-Net's raw folder, with or without its ``dataset.json``, and with a test part that has no truth."""
    pictures(folder / "imagesTr", names("case_{:03}_0000.png"))
    for seed, name in enumerate(names("case_{:03}.png")):
        save(folder / "labelsTr" / name, scan(seed)[1].astype(np.uint8))
    pictures(folder / "imagesTs", names("case_{:03}_0000.png", 2))
    if description:
        (folder / "dataset.json").write_text('{"channel_names": {"0": "us"}, "labels": {"background": 0, "lesion": 1}}')
    return folder


def two_folders(images: str, outlines: str) -> Callable[[Path], Path]:
    """Write a folder of scans and one of masks, of these names."""

    def make(folder: Path) -> Path:
        pictures(folder / images, names())
        masks(folder / outlines, names())
        return folder

    return make


def class_and_kind(folder: Path) -> Path:
    """Write ``benign_images/ benign_masks/ malignant_images/ malignant_masks/``."""
    for label in ("benign", "malignant"):
        pictures(folder / f"{label}_images", names())
        masks(folder / f"{label}_masks", names())
    return folder


def two_views(folder: Path) -> Path:
    """Write two folders of scans whose files have the same names: views or machines, not classes."""
    pictures(folder / "longitudinal", names())
    pictures(folder / "transverse", names())
    return folder


def spelled(folder: Path) -> Path:
    """Write ``Benign/`` and ``benign/``, ``Fälle`` composed and decomposed."""
    labels = ("Benign", "benign", "F\u00e4lle", "Fa\u0308lle")
    pictures(folder / "scans", names())
    return write_table(folder / "scans.csv", [("image", "label"), *zip(names("scans/{:03}.png"), labels, strict=True)])


def arrays(folder: Path) -> Path:
    """Write ``X/`` and ``Y/`` of ``.npy`` files."""
    for seed, name in enumerate(names("{}.npy")):
        for place, array in (("X", scan(seed)[0]), ("Y", scan(seed)[1].astype(np.int64))):
            (folder / place).mkdir(parents=True, exist_ok=True)
            np.save(folder / place / name, array)
    return folder
