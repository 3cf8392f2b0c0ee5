"""Data sets written in annotation formats, opened again, and read by the formats' own readers."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_dicom
import numpy as np
import pytest
import SimpleITK
import yaml
from made import busi, save, scan
from made_dicom import dicom, region
from PIL import Image, ImageDraw
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.draw import disk

import bcdseg
from bcdseg.data.annotations.shapes import decode_coco, encode_coco
from bcdseg.errors import DatasetError, DataWarning, OptionError, OutputExistsError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

FORMATS = ("coco", "labelme", "yolo", "nnunet")
NEAR = np.ones((3, 3))


@pytest.fixture
def data(tmp_path: Path) -> bcdseg.Dataset:
    """Return BUSI with a lesion that has a hole, a lesion of two pieces, groups, spacing and facts."""
    folder = busi(tmp_path / "busi", (1, 2, 2))
    ring = np.zeros_like(scan(1, "malignant")[1])
    ring[disk((20, 30), 15, shape=ring.shape)] = True
    ring[disk((20, 30), 6, shape=ring.shape)] = False
    save(folder / "malignant/malignant (1)_mask.png", ring)
    opened = bcdseg.open_dataset(folder)
    samples = [
        replace(one, group=f"patient {number // 2}", spacing=(0.1, 0.08), facts={"device": "A", "age": 50 + number})
        for number, one in enumerate(opened)
    ]
    return replace(opened, samples=tuple(samples))


def written(data: bcdseg.Dataset, name: str, folder: Path, **options: Any) -> Path:
    write: Callable[..., list[Path]] = getattr(data, f"to_{name}")
    files = write(folder, **options)
    assert sorted(files) == sorted(path for path in folder.rglob("*") if path.is_file())
    return folder


def assert_near(one: np.ndarray, other: np.ndarray) -> None:
    """Check that masks differ only at their edge, by a pixel."""
    assert not (one & ~binary_dilation(other, NEAR)).any()
    assert not (binary_erosion(other, NEAR) & ~one).any()


@pytest.mark.parametrize("name", FORMATS)
def test_a_data_set_comes_back_with_its_masks_labels_groups_and_facts(data: bcdseg.Dataset, tmp_path: Path, name: str) -> None:
    back = bcdseg.open_dataset(written(data, name, tmp_path / "out"))
    assert back.classes == data.classes
    assert len(back) == len(data)
    for before, after in zip(data, sorted(back, key=lambda one: one.id), strict=True):
        assert (after.label, after.group, after.spacing, after.facts) == (before.label, before.group, before.spacing, before.facts)
        pixels, mask = data.read(before)
        read_pixels, read_mask = back.read(after)
        assert (read_pixels == pixels).all()
        assert mask is not None
        assert (read_mask == mask).all()


@pytest.mark.parametrize("name", FORMATS)
def test_the_parts_of_a_split_come_back(data: bcdseg.Dataset, tmp_path: Path, name: str) -> None:
    half = [one for number, one in enumerate(data.ids) if number % 2]
    split = bcdseg.Split(data.select(half), data.select([]), data.select(set(data.ids) - set(half)), 0, (0.5, 0, 0.5))
    back = bcdseg.open_dataset(written(data, name, tmp_path / "out", split=split))
    assert len(back.part("train")) == len(half)
    assert len(back.part("test")) == len(data) - len(half)
    with pytest.raises(OptionError, match="split: has no part"):
        getattr(data, f"to_{name}")(tmp_path / "other", split=replace(split, test=data.select([])))


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_replaced_by_default(data: bcdseg.Dataset, tmp_path: Path, name: str) -> None:
    folder = written(data, name, tmp_path / "out")
    with pytest.raises(OutputExistsError):
        getattr(data, f"to_{name}")(folder)
    getattr(data, f"to_{name}")(folder, overwrite=True)


@pytest.mark.parametrize("name", ["coco", "yolo", "nnunet"])
def test_no_scan_of_an_earlier_split_remains(data: bcdseg.Dataset, tmp_path: Path, name: str) -> None:
    folder = written(data, name, tmp_path / "out")
    half = data.ids[::2]
    split = bcdseg.Split(data.select(half), data.select([]), data.select(set(data.ids) - set(half)), 0, (0.5, 0, 0.5))
    with pytest.raises(OutputExistsError, match="would remain"):
        getattr(data, f"to_{name}")(folder, split=split, overwrite=True)
    assert len(bcdseg.open_dataset(folder)) == len(data)


def test_no_scan_of_a_larger_data_set_remains(data: bcdseg.Dataset, tmp_path: Path) -> None:
    folder = written(data, "labelme", tmp_path / "out")
    (folder / "notes.json").write_text('{"drawn by": "a reader"}')
    data.to_labelme(folder, overwrite=True)
    with pytest.raises(OutputExistsError, match="would remain"):
        data.select(data.ids[1:]).to_labelme(folder, overwrite=True)


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_scans_without_masks_keep_their_labels(data: bcdseg.Dataset, tmp_path: Path, name: str) -> None:
    data = replace(data, samples=(replace(data[0], masks=()), *data.samples[1:]))
    back = bcdseg.open_dataset(written(data, name, tmp_path / "out"))
    expected = sorted((one.label, one.group, bool(one.masks)) for one in data)
    assert sorted((one.label, one.group, bool(one.masks)) for one in back) == expected


def test_labelme_reports_labels_that_it_does_not_write(data: bcdseg.Dataset, tmp_path: Path) -> None:
    data = replace(data, samples=(replace(data[0], masks=()), *data.samples[1:]))
    with pytest.warns(DataWarning, match="labels and groups are not written"):
        data.to_labelme(tmp_path / "out")


@pytest.mark.parametrize("name", FORMATS)
def test_scans_of_dicom_keep_their_scale(tmp_path: Path, name: str) -> None:
    pixels, mask = scan(1)
    made_dicom.save(dicom(pixels, region((2, 3, 46, 60), (0.01, 0.02))), tmp_path / "in/images/a.dcm")
    made_dicom.save(dicom(pixels), tmp_path / "in/images/b.dcm")
    for one in "ab":
        save(tmp_path / f"in/masks/{one}.png", mask)
    back = bcdseg.open_dataset(written(bcdseg.open_dataset(tmp_path / "in"), name, tmp_path / "out"))
    assert [one.spacing and pytest.approx(one.spacing) for one in back] == [(0.1, 0.2), None]


@pytest.mark.parametrize("name", ["coco", "labelme", "yolo"])
def test_an_unknown_mask_stays_unknown_and_an_empty_one_empty(tmp_path: Path, name: str) -> None:
    for number, mask in enumerate((scan(1)[1], np.zeros_like(scan(1)[1]))):
        save(tmp_path / f"in/images/{number}.png", scan(number)[0])
        save(tmp_path / f"in/masks/{number}.png", mask)
    save(tmp_path / "in/images/2.png", scan(2)[0])
    data = bcdseg.open_dataset(tmp_path / "in", on_problem="skip")
    data = replace(data, samples=(*data.samples, replace(data[0], id="images/2.png", image=tmp_path / "in/images/2.png", masks=())))
    with pytest.warns(DataWarning, match=r"2\.png"):
        back = bcdseg.open_dataset(written(data, name, tmp_path / "out"))
    masks = {Path(one.id).stem: back.read(one)[1] for one in back}
    assert masks["0"] is not None
    assert masks["0"].any()
    assert masks["1"] is not None
    assert not masks["1"].any()
    assert masks.get("2") is None
    assert back.classes == ()


def test_pycocotools_reads_the_same_masks(data: bcdseg.Dataset, tmp_path: Path) -> None:
    folder = written(data, "coco", tmp_path / "rle")
    polygons = written(data, "coco", tmp_path / "polygons", segmentation="polygons", tolerance=0.5)
    for place, exact in ((folder, True), (polygons, False)):
        coco = opened(place / "annotations/instances_all.json")
        names = {one["file_name"]: one["id"] for one in coco.dataset["images"]}
        for sample in data:
            expected = data.read(sample)[1]
            assert expected is not None
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=[names[sample.id]]))
            drawn = np.zeros_like(expected)
            for one in annotations:
                drawn |= coco.annToMask(one).astype(bool)
                assert coco.loadCats(one["category_id"])[0]["name"] == sample.label
            if exact:
                assert (drawn == expected).all()
                assert sum(one["area"] for one in annotations) == expected.sum()
            else:
                assert_near(drawn, expected)


def opened(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("seed", range(6))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 300), rng.integers(1, 300))) < (0.0, 0.001, 0.3, 0.7, 0.999, 1.0)[seed]
    theirs = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_coco(mask) == {"size": theirs["size"], "counts": theirs["counts"].decode()}
    assert (decode_coco(theirs["counts"].decode(), mask.shape) == mask).all()


def test_labelme_draws_the_same_masks(data: bcdseg.Dataset, tmp_path: Path) -> None:
    """Compare with labelme.utils.shape_to_mask, which draws a polygon with its line and has pixel centres at whole numbers."""
    folder = written(data, "labelme", tmp_path / "out", tolerance=0.5)
    for sample in data:
        expected = data.read(sample)[1]
        content = json.loads((folder / sample.id).with_suffix(".json").read_text(encoding="utf-8"))
        assert content.keys() >= {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"}
        assert (folder / sample.id).parent / content["imagePath"] == folder / sample.id
        picture = Image.new("1", (content["imageWidth"], content["imageHeight"]))
        for shape in content["shapes"]:
            assert shape["label"] == sample.label
            ImageDraw.Draw(picture).polygon([tuple(point) for point in shape["points"]], outline=1, fill=1)
        assert expected is not None
        drawn = np.asarray(picture)
        assert not (expected & ~binary_dilation(drawn, NEAR)).any()
        assert not (drawn & ~binary_dilation(expected, NEAR)).any()


def test_yolo_files_follow_the_rules_of_ultralytics(data: bcdseg.Dataset, tmp_path: Path) -> None:
    """Check docs.ultralytics.com/datasets/segment: class number from 0, then x and y of three points or more, from 0 to 1."""
    folder = written(data, "yolo", tmp_path / "out")
    names = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert names == {"train": "images/train", "names": {0: "benign", 1: "malignant"}}
    for image in (folder / "images").rglob("*.png"):
        lines = (folder / "labels" / image.relative_to(folder / "images")).with_suffix(".txt").read_text().splitlines()
        rows = [np.array(line.split(), np.float32) for line in lines]
        assert all(len(row) >= 7 and len(row) % 2 == 1 and row[0] in (0, 1) for row in rows)
        assert all((row[1:] >= 0).all() and (row[1:] <= 1).all() for row in rows)
        assert bool(rows) == ("normal" not in image.name)


def test_nnunet_files_follow_its_rules_and_its_reader_reads_them(data: bcdseg.Dataset, tmp_path: Path) -> None:
    folder = written(data, "nnunet", tmp_path / "Dataset101_Breast")
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "benign": 1, "malignant": 2}
    assert content["numTraining"] == len(data)
    assert content["file_ending"] == ".png"
    for sample in data:
        case = sample.id.removesuffix(".png").replace("/", "_").replace(" (", "_").removesuffix(")")
        image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"imagesTr/{case}_0000.png")))
        label = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"labelsTr/{case}.png")))
        pixels, mask = data.read(sample)
        assert mask is not None
        assert (image == pixels).all()
        assert (label == mask * content["labels"].get(sample.label, 0)).all()


def test_nnunet_leaves_out_scans_without_masks_with_a_warning(data: bcdseg.Dataset, tmp_path: Path) -> None:
    first, *others = data.samples
    with pytest.warns(DataWarning, match="1 images have no mask"):
        replace(data, samples=(replace(first, masks=()), *others)).to_nnunet(tmp_path / "out")
    assert len(bcdseg.open_dataset(tmp_path / "out")) == len(others)


def test_unknown_labels_are_one_label_lesion(data: bcdseg.Dataset, tmp_path: Path) -> None:
    data = replace(data, samples=tuple(replace(one, id=f"{number}.png", label=None) for number, one in enumerate(data)))
    for name in FORMATS:
        back = bcdseg.open_dataset(written(data, name, tmp_path / name))
        assert back.classes == ()
        assert all((data.read(one)[1] == back.read(two)[1]).all() for one, two in zip(data, back, strict=True))  # type: ignore[union-attr]


def test_lesions_of_several_classes_keep_them_from_format_to_format(data: bcdseg.Dataset, tmp_path: Path) -> None:
    folder = written(data, "coco", tmp_path / "coco")
    path = folder / "annotations/instances_all.json"
    content = json.loads(path.read_text())
    both = content["annotations"][:2]
    both[1]["image_id"] = both[0]["image_id"]
    both[1]["category_id"] = 2
    content["images"] = [one for one in content["images"] if one["id"] == both[0]["image_id"]]
    del content["images"][0]["label"]
    path.write_text(json.dumps({**content, "annotations": both}))
    with pytest.warns(DataWarning) as warned:
        data = bcdseg.open_dataset(path)
    assert "1 images have lesions of several classes: their label is unknown" in str(warned[0].message)
    for name in FORMATS:
        with pytest.warns(DataWarning, match="several classes"):
            back = bcdseg.open_dataset(written(data, name, tmp_path / f"again_{name}"))
        assert [one.label for one in back] == [None]
        assert {mask.label for mask in back[0].masks} == {"benign", "malignant"}  # type: ignore[union-attr]


def test_a_table_of_annotated_samples_points_to_the_other_formats(data: bcdseg.Dataset, tmp_path: Path) -> None:
    back = bcdseg.open_dataset(written(data, "coco", tmp_path / "coco"))
    with pytest.raises(DatasetError, match="to_nnunet"):
        back.to_csv(tmp_path / "all.csv")
    with pytest.warns(DataWarning, match="samples have masks in annotation files"):
        frame = back.to_frame()
    assert list(frame["label"]) == [one.label for one in back]
    assert frame["mask"].isna().all()


@pytest.mark.parametrize("name", FORMATS)
def test_many_regions_need_little_memory(name: str, tmp_path: Path) -> None:
    size, mask = (512, 512), np.zeros((512, 512), bool)
    mask[::16, ::16] = True  # 1024 regions, whose masks would need 268 megabytes together
    data = bcdseg.open_dataset({"image": [np.zeros(size, np.uint8)], "mask": [mask], "label": ["benign"]}, name="dots")
    tracemalloc.start()
    folder = written(data, name, tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    back = bcdseg.open_dataset(folder)
    assert (back.read(back[0])[1] == mask).all()


def test_classes_of_lesions_are_renamed_with_those_of_scans(data: bcdseg.Dataset, tmp_path: Path) -> None:
    back = bcdseg.open_dataset(written(data, "coco", tmp_path / "coco"), class_map={"malignant": "cancer"})
    assert {mask.label for one in back for mask in one.masks} == {"benign", "cancer", None}  # type: ignore[union-attr]


def test_annotated_data_is_audited(data: bcdseg.Dataset, tmp_path: Path) -> None:
    back = bcdseg.open_dataset(written(data, "yolo", tmp_path / "yolo"))
    assert [one.code for one in bcdseg.audit(back).findings] == [one.code for one in bcdseg.audit(data).findings]
