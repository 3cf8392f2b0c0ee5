"""Cells of tables that are unknown, out of range, or not a number where the others are."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import made_folders as made
import pytest
from made import save, scan

import bcdseg
from bcdseg.errors import DatasetError, DataWarning


def write(folder: Path, *rows: tuple[object, ...]) -> Path:
    """Write scans and a table of them; the first row is the header of the other columns."""
    names = made.names(count=len(rows) - 1)
    made.pictures(folder, names)
    cells = [("image", *rows[0]), *((name, *row) for name, row in zip(names, rows[1:], strict=True))]
    return made.write_table(folder / "scans.csv", cells)


def test_cells_of_unknown_labels_and_patients_are_unknown_with_one_warning(tmp_path: Path) -> None:
    unknown = [(cell, cell, "NA", cell) for cell in ("NA", "nan", "?", "Unknown")]
    path = write(tmp_path, ("label", "patient", "split", "spacing"), ("benign", "7", "train", "0.1"), *unknown)
    with pytest.warns(DataWarning, match=r"unknown value: label 'NA' \(1\), label 'nan' \(1\).*class_map=\{'NA': 'NA'\}") as caught:
        data = bcdseg.open_dataset(path)
    assert len(caught) == 1
    found = [(sample.label, sample.group, sample.part, sample.spacing) for sample in data]
    assert found == [("benign", "7", "train", (0.1, 0.1)), *[(None, None, None, None)] * 4]


def test_scans_of_unknown_patients_stay_without_a_group(tmp_path: Path) -> None:
    path = write(tmp_path, ("label", "patient"), *[(label, "NA") for label in ("benign", "malignant") for _ in range(4)])
    with pytest.warns(DataWarning, match=r"patient 'NA' \(8\)\.$"):
        data = bcdseg.open_dataset(path)
    assert all(sample.group is None for sample in data)


def test_a_class_that_is_named_unknown_is_kept_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, ("label",), ("benign",), ("unknown",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bcdseg.open_dataset(path, class_map={"unknown": "unsure"}).classes == ("benign", "unsure")
        assert bcdseg.open_dataset(path, class_map={"unknown": None}).classes == ("benign",)


def test_minus_is_a_class_where_plus_is_one(tmp_path: Path) -> None:
    path = write(tmp_path, ("label",), ("+",), ("-",))
    assert [sample.label for sample in bcdseg.open_dataset(path)] == ["+", "-"]


@pytest.mark.parametrize(
    ("cell", "spacing"),
    [
        ("0.08", (0.08, 0.08)),
        ("0,08", (0.08, 0.08)),
        ("1,5", (1.5, 1.5)),
        ("0.1;0.2", (0.1, 0.2)),
        ("0,1;0,2", (0.1, 0.2)),
        ("0.1x0.2", (0.1, 0.2)),
        ("0.1,0.2", (0.1, 0.2)),
        ("(1, 2)", (1.0, 2.0)),
        ("[0.1, 0.2]", (0.1, 0.2)),
    ],
)
def test_a_spacing_is_one_number_or_two(tmp_path: Path, cell: str, spacing: tuple[float, float]) -> None:
    assert bcdseg.open_dataset(write(tmp_path, ("spacing",), (cell,)))[0].spacing == spacing


@pytest.mark.parametrize("cell", ["80", "0.0001", "0.1;80", "0.1;0.1;0.1", "-0.1", "inf"])
def test_a_spacing_that_no_scan_has_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DatasetError, match=rf"row 2: spacing '{cell}' is neither a number of mm per pixel from 0\.001 to 10"):
        bcdseg.open_dataset(write(tmp_path, ("spacing",), (cell,)))


def test_an_age_that_is_not_a_number_is_unknown_and_named(tmp_path: Path) -> None:
    path = write(tmp_path, ("age",), ("52",), ("60-70",), ("NA",), ("49.5",))
    with pytest.warns(DataWarning, match=r"scans\.csv: 'age' is not a number in row 3 '60-70', so it is unknown there"):
        data = bcdseg.open_dataset(path)
    assert [sample.facts for sample in data] == [{"age": 52}, {}, {}, {"age": 49.5}]
    assert data.filter(lambda sample: sample.facts.get("age", 0) >= 50).ids == ("001.png",)


def test_an_age_that_nobody_has_is_unknown_and_named(tmp_path: Path) -> None:
    path = write(tmp_path, ("age",), ("52",), ("-1",), ("999",), ("0",))
    with pytest.warns(DataWarning, match=r"scans\.csv: 'age' is not from 0 to 130 in row 3 '-1', row 4 '999', so it is unknown"):
        assert [sample.facts for sample in bcdseg.open_dataset(path)] == [{"age": 52}, {}, {}, {"age": 0}]


def test_ages_in_ranges_stay_texts(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(write(tmp_path, ("age",), ("50-60",), ("60-70",)))
    assert [sample.facts["age"] for sample in data] == ["50-60", "60-70"]


def test_numbers_of_patients_are_groups_also_where_pandas_wrote_them_with_a_decimal(tmp_path: Path) -> None:
    path = write(tmp_path, ("patient",), ("7",), ("7.0",), ("7.5",), ("P7.0",))
    assert [sample.group for sample in bcdseg.open_dataset(path)] == ["7", "7", "7.5", "P7.0"]


def test_masks_that_are_named_as_unknown_are_unknown_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, ("label", "mask"), *[("benign", cell) for cell in ("NaN", "None", "")])
    with pytest.warns(DataWarning, match=r"unknown value: mask 'NaN' \(1\), mask 'None' \(1\)\.$"):
        data = bcdseg.open_dataset(path)
    assert [sample.masks for sample in data] == [()] * 3


def test_a_quotation_mark_that_is_not_closed_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    path = write(tmp_path, ("label", "notes"), ("benign", "x"), ("malignant", "x"), ("benign", "x"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace("x", '"12 MHz'), lines[3]]))
    with pytest.raises(DatasetError, match=r"scans\.csv row 3: a quotation mark"):
        bcdseg.open_dataset(path)
    path.write_text("\n".join([*lines[:2], lines[2].replace("x", '"a 12"" screen\nof glass"'), lines[3]]))
    with pytest.warns(DataWarning, match="notes"):
        assert len(bcdseg.open_dataset(path)) == 3


def test_a_mask_whose_name_has_a_semicolon_is_one_file(tmp_path: Path) -> None:
    image, mask = scan(0)
    for name in ("1;2.png", "3.png"):
        save(tmp_path / "data" / "images" / name, image)
        save(tmp_path / "data" / "masks" / name, mask)
    save(tmp_path / "more.png", ~mask)
    data = bcdseg.open_dataset(tmp_path / "data")
    data.to_csv(tmp_path / "all.csv")
    assert [one.masks for one in bcdseg.open_dataset(tmp_path / "all.csv")] == [one.masks for one in data]
    two = replace(data, samples=tuple(replace(one, masks=(*one.masks, tmp_path / "more.png")) for one in data))
    with pytest.raises(DatasetError, match=r"masks/1;2\.png"):
        two.to_csv(tmp_path / "two.csv")
