"""Ordinary folders and tables of users: each is opened as intended, or refused with a solution."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import made_folders as made
import numpy as np
import pytest
from made import save, scan

import bcdseg
from bcdseg.errors import DatasetError, DataWarning, OptionError


def facts(data: bcdseg.Dataset) -> list[tuple[str, int, str | None, str | None]]:
    """Return image file, number of masks, label and group of each sample."""
    return [(sample.image.name, len(sample.masks), sample.label, sample.group) for sample in data]


TABLE = [
    ("001.png", 1, "benign", "p1"),
    ("002.png", 1, "benign", "p1"),
    ("003.png", 1, "malignant", "p2"),
    ("004.png", 1, "malignant", "p3"),
]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_named_table_gives_labels_and_patients_and_the_folders_next_to_it_masks(tmp_path: Path, suffix: str) -> None:
    data = bcdseg.open_dataset(made.table_next_to_folders(tmp_path, suffix))
    assert facts(data) == TABLE
    assert {sample.image.parent.name for sample in data} == {"images"}
    for number, sample in enumerate(data):
        np.testing.assert_array_equal(data.read(sample)[1], scan(number)[1])


def test_the_folder_of_a_table_is_refused_until_one_of_both_is_named(tmp_path: Path) -> None:
    made.table_next_to_folders(tmp_path)
    with pytest.raises(DatasetError, match=r"Give the path of the table, or layout='image_mask'"):
        bcdseg.open_dataset(tmp_path)
    assert bcdseg.open_dataset(tmp_path, "image_mask").classes == ()
    (tmp_path / "scans.csv").rename(tmp_path / "scans.xlsx")
    with pytest.warns(DataWarning, match=r"tables that aren't used: scans\.xlsx"):
        bcdseg.open_dataset(tmp_path)


def test_a_layout_of_folders_and_columns_of_no_table_are_refused(tmp_path: Path) -> None:
    path = made.table_next_to_folders(tmp_path)
    with pytest.raises(OptionError, match="layout='image_mask': is a layout of folders"):
        bcdseg.open_dataset(path, "image_mask")
    with pytest.raises(OptionError, match=r"columns: is for tables of your own.*Give the path of the table"):
        bcdseg.open_dataset(tmp_path, "image_mask", columns={"image": "file"})
    path.rename(tmp_path / "bus_data.csv")
    assert facts(bcdseg.open_dataset(tmp_path / "bus_data.csv")) == TABLE


def test_the_labels_of_a_named_table_win_over_folders(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.table_next_to_class_folders(tmp_path))
    assert [(sample.label, sample.group) for sample in data] == [
        ("cyst", "p1"),
        ("cancer", "p1"),
        ("cancer", "p2"),
        ("cyst", "p3"),
    ]


def test_the_raw_folder_of_nnunet_is_pairs_and_no_classes(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.nnunet(tmp_path / "whole")).part("train")
    with pytest.warns(DataWarning, match=r"imagesTs/ \(2\)"):
        bare = bcdseg.open_dataset(made.nnunet(tmp_path / "bare", description=False))
    for found in (data, bare):
        assert facts(found) == [(f"case_{number:03}_0000.png", 1, None, None) for number in range(1, 5)]
        assert {sample.part for sample in found} == {"train"}
        np.testing.assert_array_equal(found.read(found[2])[1], scan(2)[1])


@pytest.mark.parametrize(
    ("images", "outlines"), [("images", "seg"), ("images", "ann"), ("original", "GT"), ("us", "white"), ("train/X", "train/Y")]
)
def test_a_folder_of_scans_and_a_folder_of_masks_of_any_names_are_pairs(tmp_path: Path, images: str, outlines: str) -> None:
    data = bcdseg.open_dataset(made.two_folders(images, outlines)(tmp_path))
    assert facts(data) == [(name, 1, None, None) for name in made.names()]
    assert {sample.image.parent for sample in data} == {tmp_path / images}
    assert {sample.part for sample in data} == {"train" if "train" in images else None}


def test_folders_of_a_class_and_a_kind_are_pairs_with_labels(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.class_and_kind(tmp_path))
    assert data.classes == ("benign", "malignant")
    assert all(len(sample.masks) == 1 and sample.masks[0].parent.name == f"{sample.label}_masks" for sample in data)


def test_two_folders_of_the_same_names_are_classes_only_on_request(tmp_path: Path) -> None:
    made.two_views(tmp_path)
    with pytest.raises(
        DatasetError, match=r"'longitudinal' and 'transverse' contain files of the same names.*layout='class_folders'"
    ):
        bcdseg.open_dataset(tmp_path)
    assert bcdseg.open_dataset(tmp_path, "class_folders").classes == ("longitudinal", "transverse")


def test_spellings_of_a_class_are_one_class_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="'Benign' and 'benign' are 'benign'"):
        data = bcdseg.open_dataset(made.spelled(tmp_path))
    assert data.classes == ("benign", "F\u00e4lle")


def test_arrays_on_disk_are_images_and_masks(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.arrays(tmp_path))
    assert facts(data) == [(f"{number}.npy", 1, None, None) for number in range(1, 5)]
    pixels, mask = data.read(data[1])
    np.testing.assert_array_equal(pixels, scan(1)[0])
    np.testing.assert_array_equal(mask, scan(1)[1])
    assert data.check() == data


def test_images_in_other_folders_are_named_in_a_warning(tmp_path: Path) -> None:
    made.two_folders("images", "masks")(tmp_path)
    made.pictures(tmp_path / "overlays", made.names())
    with pytest.warns(DataWarning, match=r"overlays/ \(4\)"):
        assert len(bcdseg.open_dataset(tmp_path)) == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.xlsx", b"garbage"),
        ("b.parquet", b"garbage"),
        ("b.csv", b"image,label\na.png,be\0nign\n"),
        ("b.csv", b"image,label\na.png," + b"x" * 200_000 + b"\n"),
        ("b.csv", b"image,label\na.png,benign,17\n"),
        ("b.csv", b"image,label,label\na.png,benign,x\n"),
        ("b.csv", "image,label\na.png,b\u00f6sartig\n".encode("latin-1")),
        ("b.csv", b""),
        ("b.xlsx", b""),
    ],
)
def test_a_broken_table_is_one_clear_error_and_never_the_folder_around_it(tmp_path: Path, name: str, content: bytes) -> None:
    made.pictures(tmp_path, ["a.png"])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"b\.{name[2:]}"):
        bcdseg.open_dataset(tmp_path / name)


def test_columns_name_the_fields_of_a_table_and_unused_ones_are_named_once(tmp_path: Path) -> None:
    made.pictures(tmp_path, made.names())
    rows = [("scan nr", "Befund", "alter", "height"), *((name, "B", 40 + at, 7) for at, name in enumerate(made.names()))]
    path = made.write_table(tmp_path / "t.csv", rows)
    with pytest.raises(
        DatasetError, match=r"no column of image files\. Its columns: 'scan nr' \(not used\), 'Befund' \(not used\)"
    ):
        bcdseg.open_dataset(path)
    columns = {"image": "scan nr", "label": "befund", "age": "alter"}
    with pytest.warns(DataWarning, match="aren't used: height") as caught:
        data = bcdseg.open_dataset(path, columns=columns, class_map={"B": "benign"})
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the caller's line, not the library's
    assert [(sample.label, sample.facts) for sample in data][1] == ("benign", {"age": 41})
    data = bcdseg.open_dataset(path, columns={**columns, "fact:height": "height"})
    assert data[0].facts == {"age": 40, "height": 7}
    with pytest.raises(DatasetError, match=r"has no column 'finding'. Its columns: 'scan nr', 'Befund'"):
        bcdseg.open_dataset(path, columns={"label": "finding"})
    with pytest.raises(OptionError, match="'lable' is neither a field nor a fact"):
        bcdseg.open_dataset(path, columns={"lable": "Befund"})
    with pytest.raises(OptionError, match="no sample is labelled 'C'"):
        bcdseg.open_dataset(path, columns={**columns, "fact:height": "height"}, class_map={"C": "benign"})


def test_scans_are_grouped_by_patient_where_a_table_has_other_groups_too(tmp_path: Path) -> None:
    made.pictures(tmp_path, made.names())
    rows = zip(made.names(), "aaaa", made.PATIENTS, strict=True)
    table = made.write_table(tmp_path / "scans.csv", [("image", "group", "patient_id"), *rows])
    with pytest.warns(DataWarning, match="columns that aren't used: group"):
        data = bcdseg.open_dataset(table)
    assert [sample.group for sample in data] == list(made.PATIENTS)


def test_a_minus_is_a_negative_receptor_and_else_unknown(tmp_path: Path) -> None:
    made.pictures(tmp_path, made.names(count=2))
    rows = [("image", "ER", "her2 status", "margin"), ("001.png", "+", "-", "-"), ("002.png", "-", "unknown", "smooth")]
    data = bcdseg.open_dataset(made.write_table(tmp_path / "scans.csv", rows))
    assert [one.facts for one in data] == [{"er": "+", "her2": "-"}, {"er": "-", "margin": "smooth"}]


def test_a_column_without_a_name_is_ignored(tmp_path: Path) -> None:
    made.pictures(tmp_path, made.names())
    table = made.write_table(tmp_path / "scans.csv", [("", "image"), *enumerate(made.names())])
    with pytest.warns(DataWarning, match="column without a name isn't used"):
        data = bcdseg.open_dataset(table)
    assert [(one.id, one.label, one.group, one.part, one.spacing) for one in data] == [
        (name, None, None, None, None) for name in made.names()
    ]
    empty = made.write_table(tmp_path / "other.csv", [("image", "", ""), *((name, "", "") for name in made.names())])
    assert bcdseg.open_dataset(empty).ids == data.ids


@pytest.mark.parametrize("header", ["patient_id", "PatientID", "subject", "case", "Patient"])
@pytest.mark.parametrize("label", ["Diagnosis", "pathology", "class"])
def test_common_names_of_columns_are_recognised(tmp_path: Path, header: str, label: str) -> None:
    made.pictures(tmp_path, ["a.png"])
    path = made.write_table(tmp_path / "t.csv", [("filename", header, label), ("a.png", 7, "benign")])
    assert facts(bcdseg.open_dataset(path)) == [("a.png", 0, "benign", "7")]


def test_two_columns_of_labels_are_refused_until_one_is_named(tmp_path: Path) -> None:
    made.pictures(tmp_path, ["a.png"])
    path = made.write_table(tmp_path / "t.csv", [("image", "diagnosis", "pathology"), ("a.png", "cyst", "benign")])
    with pytest.raises(
        DatasetError, match=r"'diagnosis' and 'pathology' could each be the label.*columns=\{'label': 'diagnosis'\}"
    ):
        bcdseg.open_dataset(path)
    with pytest.warns(DataWarning, match="diagnosis"):
        assert bcdseg.open_dataset(path, columns={"label": "pathology"})[0].label == "benign"


def test_a_file_name_that_several_files_have_is_refused(tmp_path: Path) -> None:
    made.pictures(tmp_path / "one", ["a.png"])
    made.pictures(tmp_path / "two", ["a.png", "b.png"])
    path = made.write_table(tmp_path / "t.csv", [("image",), ("a.png",), ("b",), ("two/a.png",)])
    with pytest.raises(DatasetError, match=r"row 2: .*a\.png: no such file, and 2 files have this name: one/a\.png, two/a\.png"):
        bcdseg.open_dataset(path)
    assert [sample.image.name for sample in bcdseg.open_dataset(path, on_problem="skip")] == ["b.png", "a.png"]


def test_a_mask_is_found_by_its_name_alone_and_never_a_scan(tmp_path: Path) -> None:
    made.pictures(tmp_path / "images", ["1.png", "2.png"])
    made.masks(tmp_path / "masks", ["mask_1.png", "outline of 2.png"])
    rows = [("image", "mask"), ("1.png", "mask_1.png"), ("2", "outline of 2")]
    data = bcdseg.open_dataset(made.write_table(tmp_path / "t.csv", rows))
    assert [path.name for one in data for path in one.files] == ["1.png", "mask_1.png", "2.png", "outline of 2.png"]
    path = made.write_table(tmp_path / "wrong.csv", [("image", "mask"), ("mask_1.png", "1.png")])
    with pytest.raises(DatasetError, match=r"mask_1\.png: no such file(.|\n)*1\.png: no such file"):
        bcdseg.open_dataset(path)


def in_memory(kind: str, path: Path) -> object:
    import polars

    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(path)
    return {
        "pandas": lambda: frame,
        "polars": lambda: polars.DataFrame(frame),
        "dicts": lambda: frame.to_dict("records"),
        "columns": lambda: {name: list(frame[name]) for name in frame},
    }[kind]()


@pytest.mark.parametrize("kind", ["pandas", "polars", "dicts", "columns"])
def test_tables_in_memory_open_like_files(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("polars")
    table = in_memory(kind, made.table_next_to_folders(tmp_path))
    assert facts(bcdseg.open_dataset(table, root=tmp_path)) == TABLE


class MapStyle:
    """Map-style data set of torch."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> dict[str, object]:
        import torch

        pixels, mask = scan(number)
        return {
            "image": torch.from_numpy(pixels)[None],
            "mask": torch.from_numpy(mask)[None].long(),
            "label": number % 2,
            "age": 40.0,
        }


def as_arrays() -> dict[str, object]:
    pairs = [scan(number) for number in range(3)]
    return {"image": np.stack([pair[0] for pair in pairs]), "mask": [pair[1] for pair in pairs], "label": np.array([0, 1, 0])}


@pytest.mark.parametrize("make", [MapStyle, as_arrays])
def test_arrays_and_map_style_data_sets_open(make: Callable[[], object]) -> None:
    data = bcdseg.open_dataset(make(), name="mine")
    assert data.name == "mine"
    assert data.ids == ("0", "1", "2")
    assert data.classes == ("0", "1")
    for number, sample in enumerate(data):
        pixels, mask = data.read(sample)
        np.testing.assert_array_equal(pixels, scan(number)[0])
        np.testing.assert_array_equal(mask, scan(number)[1])


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_as_bytes_open(tmp_path: Path, in_memory: bool) -> None:
    rows = []
    for number in range(2):
        files = [save(tmp_path / f"{number}_{at}.png", pixels) for at, pixels in enumerate(scan(number))]
        image, mask = (file.read_bytes() for file in files)
        rows.append({"image": {"bytes": image, "path": "scan.png"}, "mask": mask, "label": "benign"})
    table = tmp_path / "train-00000-of-00001.parquet"
    if not in_memory:
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), table)
    data = bcdseg.open_dataset(rows if in_memory else table)
    assert data.ids == ("0", "1")
    for number, sample in enumerate(data):
        pixels, mask = data.read(sample)
        np.testing.assert_array_equal(pixels, scan(number)[0])
        np.testing.assert_array_equal(mask, scan(number)[1])


def test_each_item_of_a_data_set_is_stored_before_the_next_is_read() -> None:
    arrays: list[weakref.ref[np.ndarray]] = []

    class Items:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> dict[str, object]:
            assert sum(one() is not None for one in arrays) <= 2  # the scan and the mask of one item
            pixels, mask = (values.copy() for values in scan(number))
            arrays.extend((weakref.ref(pixels), weakref.ref(mask)))
            return {"image": pixels, "mask": mask}

    assert len(bcdseg.open_dataset(Items())) == 3


def test_missing_cells_in_memory_are_unknown(tmp_path: Path) -> None:
    made.pictures(tmp_path, ["a.png", "b.png"])
    columns = {
        "image": ["a.png", "b.png"],
        "label": np.array([2.0, np.nan]),
        "patient": np.array([7, 8], np.float32),
        "age": [None, 41],
    }
    data = bcdseg.open_dataset(columns, root=tmp_path)
    assert [(sample.label, sample.group, sample.facts) for sample in data] == [("2", "7", {}), (None, "8", {"age": 41})]


def test_objects_other_than_data_sets_are_refused() -> None:
    with pytest.raises(DatasetError, match="its items are not dicts"):
        bcdseg.open_dataset([(np.zeros((32, 32)), 1)])
    with pytest.raises(OptionError, match="neither a folder nor a table"):
        bcdseg.open_dataset(7)
    with pytest.raises(DatasetError, match="'image' is not a list or an array"):
        bcdseg.open_dataset({"image": 3})
    with pytest.raises(DatasetError, match="different lengths"):
        bcdseg.open_dataset({"image": ["a", "b"], "label": ["x"]})


def test_facts_are_read_kept_and_written(tmp_path: Path) -> None:
    made.pictures(tmp_path, made.names())
    header = ("image", "Age", "BI-RADS", "Scanner", "breast_side", "Histology", "site", "fact:parity")
    cells = [(40, "4a", "GE", "left", "IDC", "Bonn", 1), (51, "4", "", "right", "n/a", "Bonn", 2)]
    path = made.write_table(tmp_path / "t.csv", [header, *((f"00{at}.png", *row) for at, row in enumerate(cells, 1))])
    data = bcdseg.open_dataset(path)
    first = {"age": 40, "birads": "4a", "device": "GE", "side": "left", "histology": "IDC", "hospital": "Bonn", "parity": 1}
    assert data[0].facts == first
    assert data[1].facts == {"age": 51, "birads": "4", "side": "right", "hospital": "Bonn", "parity": 2}
    assert data.filter(device="GE").ids == data.filter(lambda sample: sample.facts["age"] < 50).ids == ("001.png",)
    data.to_csv(tmp_path / "again.csv")
    assert [sample.facts for sample in bcdseg.open_dataset(tmp_path / "again.csv")] == [sample.facts for sample in data]
    both = bcdseg.combine([data, data])
    assert both[0].facts == {"dataset": "t", **first}


def test_labels_are_mapped_and_samples_filtered(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.table_next_to_folders(tmp_path))
    assert data.map_labels({"benign": "other", "malignant": None}).classes == ("other",)
    assert data.filter(label=["malignant"], group="p2").ids == ("003.png",)
    assert len(data.filter(label=np.array(["benign", "malignant"]), group=(name for name in ("p1", "p2")))) > 1
    with pytest.warns(DataWarning, match="no sample has label='Malignant'"):
        assert not len(data.filter(label=["Malignant"]))
    numbered = data.map_labels({"benign": "3", "malignant": "5"})
    assert len(numbered.filter(label=range(1, 6))) == len(numbered.filter(label=["3", "5"])) > len(numbered.filter(label=5)) > 0
    with pytest.raises(OptionError, match="give a list of ids"):
        data.select(data.ids[0])
    with pytest.raises(OptionError, match="filter='age'"):
        data.filter(age=40)
    with pytest.raises(OptionError, match="no sample is labelled 'Cancer'"):
        data.map_labels({"Cancer": "malignant"})


def test_classes_may_be_numbers(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", scan(0)[0])
    samples = tuple(bcdseg.Sample(id=str(at), image=image, label=label) for at, label in enumerate((2, 3.0, np.int64(4))))
    data = bcdseg.Dataset(samples, "numbers")
    assert data.classes == ("2", "3", "4")
    assert data.map_labels({2: "benign", 3: None}).classes == ("benign", "4")
    assert bcdseg.create("plain_cnn", classes=[2, 3, np.int64(4)], size=32).classes == ("2", "3", "4")


def test_a_picture_and_a_frame_show_a_data_set(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    data = bcdseg.open_dataset(made.table_next_to_folders(tmp_path))
    assert data.show(3, columns=2).size == (2 * 228 + 8, 2 * 260 + 8)
    frame = data.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["label"]) == ["benign", "benign", "malignant", "malignant"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert facts(bcdseg.open_dataset(frame)) == facts(data)
    assert "2 benign, 2 malignant" in data._repr_html_()


def test_images_of_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    made.two_folders("images", "masks")(tmp_path)
    made.pictures(tmp_path / "images", ["005.gif"])
    (tmp_path / "images/006.JP2").write_bytes(b"of no matter")
    with pytest.warns(DataWarning, match=r"formats that aren't read: images/005\.gif, images/006\.JP2\. Convert them to PNG"):
        assert len(bcdseg.open_dataset(tmp_path)) == 4
    made.pictures(tmp_path / "others/benign", ["1.gif"])
    with pytest.raises(DatasetError, match=r"formats that aren't read to PNG: benign/1\.gif"):
        bcdseg.open_dataset(tmp_path / "others")


def test_images_of_one_name_share_their_mask_with_a_warning(tmp_path: Path) -> None:
    made.pictures(tmp_path / "benign", ["1.png", "1.jpg", "2.png", "2.jpg"])
    made.masks(tmp_path / "benign", ["1_mask.png"])
    with pytest.warns(DataWarning, match=r"images of one name, which have the same masks: benign/1\.jpg, benign/1\.png\."):
        data = bcdseg.open_dataset(tmp_path)
    assert {sample.id: len(sample.masks) for sample in data} == {
        "benign/1.jpg": 1,
        "benign/1.png": 1,
        "benign/2.jpg": 0,
        "benign/2.png": 0,
    }


def test_a_path_in_place_of_a_data_set_is_an_error_that_names_it() -> None:
    for function in (bcdseg.split, bcdseg.folds, bcdseg.audit):
        with pytest.raises(OptionError, match=r"'folder' is not a data set\. Open one with bcdseg\.open_dataset"):
            function("folder")  # type: ignore[operator]
    with pytest.raises(OptionError, match=r"'a' is not a data set\. Open each one"):
        bcdseg.combine("a", "b")
    with pytest.raises(OptionError, match=r"1 is not a data set"):
        bcdseg.combine(1, 2)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"name=1: is neither the name of a model \(.*busi-lite"):
        bcdseg.load(1)  # type: ignore[arg-type]


def test_parts_of_a_split_are_combined(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.table_next_to_folders(tmp_path))
    assert len(bcdseg.combine(part for part in (data, data))) == 8
