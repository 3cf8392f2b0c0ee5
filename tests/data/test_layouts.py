from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import busi, save, scan

from bcdseg.data.opening import open_dataset
from bcdseg.errors import DatasetError, ImageNotFoundError, MissingExtraError, OptionError

LESION = scan(1)[1]


def table(path: Path, *rows: tuple[str, ...], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def images(folder: Path, *names: str, seed: int = 0) -> None:
    for number, name in enumerate(names):
        save(folder / name, scan(seed + number)[0])


def masks(folder: Path, *names: str) -> None:
    for name in names:
        save(folder / name, LESION)


def facts(path: Path, **options: object) -> dict[str, tuple[int, str | None, str | None, str | None]]:
    """Return number of masks, label, group and part by id."""
    data = open_dataset(path, **options)  # type: ignore[arg-type]
    return {sample.id: (len(sample.masks), sample.label, sample.group, sample.part) for sample in data}


def test_busi_as_released(tmp_path: Path) -> None:
    found = facts(busi(tmp_path / "Dataset_BUSI_with_GT"))
    assert found["benign/benign (1).png"] == (2, "benign", None, None)
    assert found["normal/normal (2).png"] == (1, "normal", None, None)
    assert len(found) == 8


def test_busi_opened_from_the_folder_above(tmp_path: Path) -> None:
    busi(tmp_path / "Dataset_BUSI_with_GT")
    assert facts(tmp_path)["Dataset_BUSI_with_GT/benign/benign (1).png"] == (2, "benign", None, None)


@pytest.mark.parametrize("inner", ["", "all"])
def test_busi_flattened_takes_labels_from_names(tmp_path: Path, inner: str) -> None:
    busi(tmp_path / inner, flat=True)
    data = open_dataset(tmp_path)
    assert data.classes == ("normal", "benign", "malignant")
    assert sum(len(sample.masks) for sample in data) == 9


def test_one_class_of_busi_alone(tmp_path: Path) -> None:
    busi(tmp_path)
    assert open_dataset(tmp_path / "benign").classes == ("benign",)


def test_class_folders_of_any_names(tmp_path: Path) -> None:
    images(tmp_path, "Cyst/a.png", "Cyst/b.jpg", "Fibroadenoma/a.png")
    assert facts(tmp_path) == {
        "Cyst/a.png": (0, "Cyst", None, None),
        "Cyst/b.jpg": (0, "Cyst", None, None),
        "Fibroadenoma/a.png": (0, "Fibroadenoma", None, None),
    }
    assert "class folders" in open_dataset(tmp_path).layout


def test_busi_taken_as_class_folders_has_no_masks_among_its_images(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path), layout="class_folders")
    assert len(data) == 8
    assert not any(sample.masks for sample in data)


@pytest.mark.parametrize("name", ["{}_seg", "{}-mask", "{}_Segmentation", "{} GT", "mask_{}", "{}_mask1", "{}mask"])
def test_masks_next_to_their_images_are_never_scans(tmp_path: Path, name: str) -> None:
    for number, label in enumerate(("benign", "benign", "malignant")):
        pixels, mask = scan(number, label)
        save(tmp_path / label / f"{number}.png", pixels)
        save(tmp_path / label / f"{name.format(number)}.png", mask)
    data = open_dataset(tmp_path)
    assert [(one.image.name, one.label, len(one.masks)) for one in data] == [
        ("0.png", "benign", 1),
        ("1.png", "benign", 1),
        ("2.png", "malignant", 1),
    ]
    np.testing.assert_array_equal(data.read(data[2])[1], scan(2, "malignant")[1])
    assert len(open_dataset(tmp_path, "class_folders")) == 3


def test_class_folders_below_parts(tmp_path: Path) -> None:
    images(tmp_path, "train/benign/a.png", "valid/benign/b.png", "test/malignant/c.png")
    data = open_dataset(tmp_path)
    assert [(sample.label, sample.part) for sample in data] == [("malignant", "test"), ("benign", "train"), ("benign", "val")]
    assert data.part("val").ids == ("valid/benign/b.png",)
    with pytest.raises(OptionError, match="test, train, val"):
        data.part("validation")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.png", "masks/a.png"),
        ("img/a.jpg", "label/a.png"),
        ("images/a.png", "masks/a_mask.png"),
        ("images/a.png", "GT/a-seg.png"),
        ("images/a.png", "masks/mask_a.png"),
        ("data/images/a.png", "data/masks/a.png"),
    ],
)
def test_image_and_mask_folders(tmp_path: Path, image: str, mask: str) -> None:
    images(tmp_path, image)
    masks(tmp_path, mask)
    data = open_dataset(tmp_path)
    assert [(sample.id, sample.masks, sample.label) for sample in data] == [(image, (tmp_path / mask,), None)]
    assert "side by side" in data.layout


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/train/{label}/a.png", "masks/train/{label}/a.png"),
        ("train/images/{label}/a.png", "train/masks/{label}/a.png"),
        ("train/{label}/images/a.png", "train/{label}/masks/a.png"),
    ],
)
def test_image_and_mask_folders_with_classes_and_parts(tmp_path: Path, image: str, mask: str) -> None:
    for label in ("benign", "malignant"):
        images(tmp_path, image.format(label=label))
        masks(tmp_path, mask.format(label=label))
    assert sorted(facts(tmp_path).values()) == [(1, "benign", None, "train"), (1, "malignant", None, "train")]


def test_busi_sorted_into_image_and_mask_folders_keeps_its_labels(tmp_path: Path) -> None:
    images(tmp_path, "images/benign (1).png", "images/malignant (1).png", "images/normal (1).png")
    masks(tmp_path, "masks/benign (1).png", "masks/malignant (1)_mask.png")
    assert [value[:2] for value in facts(tmp_path).values()] == [(1, "benign"), (1, "malignant"), (0, "normal")]


def test_names_of_patients_are_not_labels(tmp_path: Path) -> None:
    images(tmp_path, "ALWI_000.png", "BATO_000.png")
    masks(tmp_path, "ALWI_000_mask.png", "BATO_000_mask.png")
    assert open_dataset(tmp_path).classes == ()


def test_a_table_next_to_class_folders_is_not_used_by_default(tmp_path: Path) -> None:
    busi(tmp_path)
    path = table(tmp_path / "predictions.csv", ("image", "label"), ("benign/benign (1).png", "malignant"))
    with pytest.raises(DatasetError, match="layout='busi'"):
        open_dataset(tmp_path)
    assert open_dataset(path)[0].label == "malignant"
    assert open_dataset(tmp_path, layout="busi")["benign/benign (1).png"].label == "benign"


def test_a_link_that_leads_nowhere_is_listed(tmp_path: Path) -> None:
    busi(tmp_path)
    (tmp_path / "benign/benign (9).png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DatasetError, match=r"benign \(9\)\.png: the file is empty, or a link"):
        open_dataset(tmp_path)


def test_several_masks_of_one_image_in_a_mask_folder(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png")
    masks(tmp_path, "masks/a_mask.png", "masks/a_mask_1.png")
    assert facts(tmp_path)["images/a.png"][0] == 2


def test_all_unpaired_and_empty_files_are_listed_in_one_error_or_skipped(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    masks(tmp_path, "masks/a.png", "masks/c.png", "masks/d.png")
    (tmp_path / "images/c.png").write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 3
    for line in ("images/b.png: an image without its mask", "masks/d.png: a mask without its image", "c.png: the file is empty"):
        assert line in str(caught.value)
    skipped = open_dataset(tmp_path, on_problem="skip")
    assert skipped.ids == ("images/a.png",)
    assert skipped.problems == caught.value.problems


def test_a_mask_without_its_image_in_busi(tmp_path: Path) -> None:
    busi(tmp_path)
    (tmp_path / "benign/benign (1).png").unlink()
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 2


def test_a_long_list_of_problems_is_cut_in_the_message_only(tmp_path: Path) -> None:
    busi(tmp_path, (1, 50, 0), second_mask=False)
    for path in (tmp_path / "benign").glob("*).png"):
        path.unlink()
    with pytest.raises(DatasetError, match="and 30 more") as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 50


def bus_bra(folder: Path) -> None:
    table(
        folder / "bus_data.csv",
        ("ID", "Case", "Histology", "Pathology", "BIRADS", "Device", "Side", "BBOX"),
        ("bus_0001-l", "1", "Fibroadenoma", "benign", "3", "GE", "left", "[1,2,3,4]"),
        ("bus_0001-r", "1", "Fibroadenoma", "benign", "3", "GE", "right", "[1,2,3,4]"),
        ("bus_0002-l", "2", "IDC", "malignant", "5", "GE", "left", "[1,2,3,4]"),
    )
    images(folder / "Images", "bus_0001-l.png", "bus_0001-r.png", "bus_0002-l.png")
    masks(folder / "Masks", "mask_0001-l.png", "mask_0001-r.png", "mask_0002-l.png")


@pytest.mark.parametrize("inner", ["", "BUSBRA"])
def test_bus_bra(tmp_path: Path, inner: str) -> None:
    bus_bra(tmp_path / inner)
    assert open_dataset(tmp_path).layout == "BUS-BRA"
    assert list(facts(tmp_path).values()) == [
        (1, "benign", "BUS-BRA case 1", None),
        (1, "benign", "BUS-BRA case 1", None),
        (1, "malignant", "BUS-BRA case 2", None),
    ]


def test_the_facts_of_bus_bra(tmp_path: Path) -> None:
    bus_bra(tmp_path)
    assert open_dataset(tmp_path)[2].facts == {"histology": "IDC", "birads": "5", "device": "GE", "side": "left"}


def test_a_table_of_bus_bra_without_its_columns_is_refused(tmp_path: Path) -> None:
    bus_bra(tmp_path)
    table(tmp_path / "bus_data.csv", ("Name", "Case"), ("a", "1"))
    with pytest.raises(DatasetError, match="needs the columns case, id, pathology"):
        open_dataset(tmp_path)


def test_bus_bra_lists_what_is_missing(tmp_path: Path) -> None:
    bus_bra(tmp_path)
    (tmp_path / "Masks/mask_0001-r.png").unlink()
    images(tmp_path / "Images", "bus_0009-l.png")
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert caught.value.problems == (
        "bus_0001-r: is in bus_data.csv, but its mask is missing",
        "Images/bus_0009-l.png: is not in bus_data.csv",
    )


CLINICAL = (
    ("CaseID", "Image_filename", "Mask_tumor_filename", "Mask_other_filename", "Pixel_size", "Age", "BIRADS", "Classification"),
    ("1", "case001.png", "case001_tumor.png", "case001_other1.png", "0.0078", "57", "2", "benign"),
    ("2", "case002.png", "case002_tumor1.png&case002_tumor2.png", "", "0.0078", "43", "4c", "malignant"),
    ("3", "case003.png", "", "", "0.0078", "not available", "1", "normal"),
)


def breast(folder: Path) -> None:
    images(folder, "case001.png", "case002.png", "case003.png")
    masks(folder, "case001_tumor.png", "case001_other1.png", "case002_tumor1.png", "case002_tumor2.png")


def test_breast_with_its_table_as_csv(tmp_path: Path) -> None:
    breast(tmp_path / "BrEaST-Lesions_USG-images_and_masks")
    clinical = table(tmp_path / "BrEaST-Lesions-USG-clinical-data.csv", *CLINICAL)
    expected = [(1, "benign", "BrEaST case 1", None), (2, "malignant", "BrEaST case 2", None), (0, "normal", "BrEaST case 3", None)]
    assert open_dataset(tmp_path).layout == "BrEaST"
    assert list(facts(tmp_path).values()) == expected
    assert list(facts(clinical).values()) == expected


def test_the_facts_of_breast(tmp_path: Path) -> None:
    breast(tmp_path)
    table(tmp_path / "clinical.csv", *CLINICAL)
    known = [sample.facts for sample in open_dataset(tmp_path)]
    assert known == [{"age": 57, "birads": "2"}, {"age": 43, "birads": "4c"}, {"birads": "1"}]


EXCEL = "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx"


def test_breast_with_its_excel_table(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    breast(tmp_path)
    book = openpyxl.Workbook()
    book.active.append(CLINICAL[0])
    for row in CLINICAL[1:]:
        book.active.append([int(row[0]), *(cell or None for cell in row[1:])])
    book.save(tmp_path / EXCEL)
    assert [value[:3] for value in facts(tmp_path).values()] == [
        (1, "benign", "BrEaST case 1"),
        (2, "malignant", "BrEaST case 2"),
        (0, "normal", "BrEaST case 3"),
    ]


@pytest.mark.parametrize(("name", "package"), [(EXCEL, "openpyxl"), ("scans.parquet", "pyarrow")])
def test_a_table_that_needs_an_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    for module in [package, *(known for known in sys.modules if known.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"of no matter")
    with pytest.raises(MissingExtraError, match=rf"{package}.*bcdseg\[tables\]"):
        open_dataset(tmp_path)


def bus_uclm(folder: Path) -> None:
    images(folder / "images", "ALWI_000.png", "ALWI_001.png", "BATO_000.png")
    for name, colour in (("ALWI_000", (0, 255, 0)), ("ALWI_001", (0, 0, 0)), ("BATO_000", (255, 0, 0))):
        save(folder / "masks" / f"{name}.png", (LESION[..., None] * np.array(colour)).astype(np.uint8))


UCLM = {
    "images/ALWI_000.png": (1, "benign", "BUS-UCLM ALWI", None),
    "images/ALWI_001.png": (1, "normal", "BUS-UCLM ALWI", None),
    "images/BATO_000.png": (1, "malignant", "BUS-UCLM BATO", None),
}


def test_bus_uclm_by_its_table(tmp_path: Path) -> None:
    bus_uclm(tmp_path)
    rows = [("ALWI_000.png", "Benign"), ("ALWI_001.png", "Normal"), ("BATO_000.png", "Malignant")]
    table(
        tmp_path / "INFO.csv",
        ("Image", "Patient", "Label", "Doppler", "Marks", "Combined"),
        *((image, image[:4], label, "No", "No", "No") for image, label in rows),
        delimiter=";",
    )
    data = open_dataset(tmp_path)
    assert data.layout == "BUS-UCLM"
    assert data[0].facts == {"device": "Siemens Acuson S2000", "doppler": "No", "marks": "No"}
    assert facts(tmp_path) == UCLM
    np.testing.assert_array_equal(data.read("images/BATO_000.png")[1], LESION)


def test_bus_uclm_by_its_colours(tmp_path: Path) -> None:
    bus_uclm(tmp_path)
    assert facts(tmp_path, layout="bus_uclm") == UCLM


def test_bus_uclm_lists_what_table_and_folder_have_alone(tmp_path: Path) -> None:
    bus_uclm(tmp_path)
    rows = (("Image", "Label", "Doppler"), ("ALWI_000.png", "Benign", "No"), ("CEDI_000.png", "Normal", "No"))
    table(tmp_path / "INFO.csv", *rows, delimiter=";")
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 3


def full_table(tmp_path: Path, name: str, write: Callable[[Path, list[dict[str, str]]], None]) -> Path:
    images(tmp_path, "a.png", "sub/b.png")
    masks(tmp_path, "m1.png", "m2.png")
    rows = [
        {"image": "a.png", "mask": "m1.png;m2.png", "label": "benign", "patient": "7", "split": "Train", "spacing": "0.1"},
        {"image": "sub/b.png", "mask": "", "label": "", "patient": "", "split": "", "spacing": "0.1;0.2"},
    ]
    write(tmp_path / name, rows)
    return tmp_path / name


def assert_full(path: Path) -> None:
    first, second = open_dataset(path)
    assert (first.id, len(first.masks), first.label, first.group, first.part, first.spacing) == (
        "a.png",
        2,
        "benign",
        "7",
        "train",
        (0.1, 0.1),
    )
    assert (second.id, second.masks, second.label, second.group, second.part, second.spacing) == (
        "sub/b.png",
        (),
        None,
        None,
        None,
        (0.1, 0.2),
    )


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_a_table_with_every_column(tmp_path: Path, delimiter: str) -> None:
    def write(path: Path, rows: list[dict[str, str]]) -> None:
        table(path, tuple(name.title() for name in rows[0]), *(tuple(row.values()) for row in rows), delimiter=delimiter)

    path = full_table(tmp_path, "scans.csv", write)
    assert_full(path)
    assert_full(tmp_path)


def test_a_parquet_table(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = full_table(tmp_path, "scans.parquet", lambda path, rows: parquet.write_table(pyarrow.Table.from_pylist(rows), path))
    assert_full(path)
    assert_full(tmp_path)


def test_every_wrong_row_of_a_table_is_listed(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    path = table(
        tmp_path / "t.csv",
        ("image", "mask", "split", "spacing"),
        ("a.png", "gone.png", "", ""),
        ("gone.png", "", "", ""),
        ("a.png", "", "holdout", "wide"),
        ("", "", "train", ""),
        ("a.png", "", "", "0.1"),
        ("a.png", "", "", "0.1"),
    )
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    problems = "\n".join(caught.value.problems)
    for part in (
        "row 2:",
        "gone.png: no such file",
        "row 3:",
        "split 'holdout'",
        "spacing 'wide'",
        "row 5: names no image",
        "is in row 6 already",
    ):
        assert part in problems
    assert open_dataset(path, on_problem="skip").ids == ("a.png",)


def test_rows_of_empty_cells_are_ignored(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "t.csv", ("image", "label"), ("a.png", "benign"), ("", " "), ("b.png", "malignant"), ("", ""))
    assert [(one.id, one.label) for one in open_dataset(path)] == [("a.png", "benign"), ("b.png", "malignant")]
    table(path, ("image", "label"), ("", ""), ("gone.png", "benign"))
    with pytest.raises(DatasetError, match=r"row 3: .*gone\.png: no such file"):
        open_dataset(path)


def test_an_image_is_not_its_own_mask(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    with pytest.raises(DatasetError, match=r"row 2: .*a\.png: is the image, not its mask"):
        open_dataset(table(tmp_path / "t.csv", ("image", "mask"), ("a.png", "a.png")))


def test_a_table_without_images_names_its_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ("what", "label"), ("a.png", "benign"))
    with pytest.raises(DatasetError, match=r"no column of image files. Its columns: 'what' \(not used\), 'label' \(label\)"):
        open_dataset(path, layout="table")


def test_what_is_not_recognised_names_the_layouts(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    with pytest.raises(DatasetError, match=r"2 images, in a layout that isn't recognised.*'table'.*'busi'"):
        open_dataset(tmp_path)
    with pytest.raises(OptionError, match="'auto', 'bus_bra'"):
        open_dataset(tmp_path, layout="imagenet")
    with pytest.raises(ImageNotFoundError):
        open_dataset(tmp_path / "gone")
    with pytest.raises(DatasetError, match="is not a table"):
        open_dataset(tmp_path / "a.png")


@pytest.mark.parametrize("layout", ["bus_bra", "breast", "table"])
def test_a_layout_without_its_table_is_an_error(tmp_path: Path, layout: str) -> None:
    images(tmp_path, "a/a.png")
    with pytest.raises(DatasetError, match=r"table|bus_data"):
        open_dataset(tmp_path, layout=layout)


def test_hidden_files_and_archive_leftovers_are_ignored(tmp_path: Path) -> None:
    busi(tmp_path)
    images(tmp_path, "__MACOSX/benign/._benign (1).png", "benign/.thumb.png")
    assert len(open_dataset(tmp_path)) == 8


def test_a_link_that_leads_in_a_circle_ends(tmp_path: Path) -> None:
    busi(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(open_dataset(tmp_path)) == 8
