"""Annotations as the tools write them, and errors of damaged ones."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from made import save, scan
from PIL import Image
from skimage.draw import ellipse

import bcdseg
from bcdseg.errors import DatasetError, DataWarning
from bcdseg.types import LesionMask

SIZE = (48, 64)
SQUARE = [10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]  # x from 10 to 30, y from 5 to 25
POINTS = [[10, 5], [30, 5], [30, 25], [10, 25]]


def square() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[5:25, 10:30] = True
    return mask


def images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        save(folder / name, scan(number)[0])


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def mask_of(data: bcdseg.Dataset, one: str | int = 0) -> np.ndarray | None:
    return data.read(data[one])[1]


def coco(*annotations: dict[str, Any], names: tuple[str, ...] = ("a.png",)) -> dict[str, Any]:
    return {
        "info": {},
        "images": [{"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "benign"}, {"id": 2, "name": "malignant"}],
        "annotations": [{"id": n, "image_id": 0, "category_id": 2, **one} for n, one in enumerate(annotations, start=7)],
    }


def test_coco_as_annotation_tools_lay_it_out(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    write(tmp_path / "annotations/instances_val.json", coco({"segmentation": [SQUARE]}, names=("a.png",)))
    write(tmp_path / "annotations/instances_train.json", coco({"segmentation": [SQUARE], "category_id": 1}, names=("b.png",)))
    data = bcdseg.open_dataset(tmp_path)
    assert "COCO" in data.layout
    assert {one.id: (one.label, one.part) for one in data} == {
        "images/a.png": ("malignant", "val"),
        "images/b.png": ("benign", "train"),
    }
    assert (mask_of(data) == square()).all()


def test_sizes_in_coco_files_may_be_written_as_decimals(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    content = coco({"segmentation": [SQUARE]})
    content["images"][0] |= {"height": 48.0, "width": 64.0}
    assert (mask_of(bcdseg.open_dataset(write(tmp_path / "coco.json", content))) == square()).all()


def test_coco_as_roboflow_lays_it_out(tmp_path: Path) -> None:
    for part, name in (("train", "a.png"), ("valid", "b.png")):
        images(tmp_path / part, name)
        write(tmp_path / part / "_annotations.coco.json", coco({"segmentation": [SQUARE]}, names=(name,)))
    assert [(one.id, one.part) for one in bcdseg.open_dataset(tmp_path)] == [("train/a.png", "train"), ("valid/b.png", "val")]


def test_coco_pieces_and_run_lengths_and_boxes(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    runs = np.concatenate(([False], square().T.ravel()))
    edges = np.flatnonzero(runs[1:] != runs[:-1])
    counts = [int(run) for run in np.diff(np.concatenate(([0], edges, [square().size])))]
    second = [40, 30, 50, 30, 50, 40, 40, 40]
    content = coco(
        {"segmentation": [SQUARE, second]},
        {"image_id": 1, "segmentation": {"size": list(SIZE), "counts": counts}},
        {"image_id": 2, "bbox": [10, 5, 20, 20]},
        names=("a.png", "b.png", "c.png"),
    )
    with pytest.warns(DataWarning, match=r"1 images have boxes in place of outlines: their mask is unknown \(c\.png\)"):
        data = bcdseg.open_dataset(write(tmp_path / "coco.json", content))
    both = square()
    both[30:40, 40:50] = True
    assert (mask_of(data) == both).all()
    assert (mask_of(data, 1) == square()).all()
    assert mask_of(data, 2) is None
    assert data[2].label == "malignant"


def test_the_name_of_the_object_is_not_a_class(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    content = coco({"segmentation": [SQUARE]})
    content["categories"] = [{"id": 2, "name": "tumor"}]
    assert bcdseg.open_dataset(write(tmp_path / "coco.json", content)).classes == ()


@pytest.mark.filterwarnings("ignore::bcdseg.errors.DataWarning")
def test_classes_are_mapped_in_scans_of_several_classes_too(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    several = [{"image_id": 0, "category_id": one, "segmentation": [SQUARE]} for one in (1, 2)]
    content = coco(*several, {"image_id": 1, "category_id": 2, "segmentation": [SQUARE]}, names=("a.png", "b.png"))
    path = write(tmp_path / "coco.json", content)

    def labels(class_map: dict[str, str | None]) -> list[tuple[str | None, list[str | None]]]:
        data = bcdseg.open_dataset(path, class_map=class_map)
        return [(one.label, [mask.label for mask in one.masks if isinstance(mask, LesionMask)]) for one in data]

    assert labels({"malignant": "cancer"}) == [(None, ["benign", "cancer"]), ("cancer", ["cancer"])]
    assert labels({"benign": "mass", "malignant": "mass"}) == [("mass", ["mass", "mass"]), ("mass", ["mass"])]
    assert labels({"malignant": None}) == [(None, ["benign", None])]
    assert labels({"benign": "Malignant"}) == [("malignant", ["malignant"] * 2), ("malignant", ["malignant"])]


def test_images_without_annotations_are_named(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    write(tmp_path / "coco.json", coco({"segmentation": [SQUARE]}, names=("a.png", "b.png")))
    with pytest.warns(DataWarning) as warned:
        data = bcdseg.open_dataset(tmp_path)
    texts = [str(one.message) for one in warned]
    assert any("1 images have no annotation: their mask is unknown, not empty (b.png)" in text for text in texts)
    assert any("1 images are in no annotation file: they are left out (c.png)" in text for text in texts)
    assert mask_of(data, "b.png") is None


DAMAGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "odd": (lambda one: one.update(segmentation=[SQUARE[:-1]]), "annotation 7: its polygon has 7 numbers"),
    "two points": (lambda one: one.update(segmentation=[SQUARE[:4]]), "annotation 7: its polygon has 4 numbers"),
    "text": (
        lambda one: one.update(segmentation=[["a", *SQUARE[1:]]]),
        "annotation 7: a coordinate of its polygon is not a number",
    ),
    "outside": (
        lambda one: one.update(segmentation=[[value + 60 for value in SQUARE]]),
        "annotation 7: its polygon is outside of the image, whose x ends at 64: it has 70 to 90",
    ),
    "infinite": (lambda one: one.update(segmentation=[[float("inf"), *SQUARE[1:]]]), "annotation 7: its polygon has"),
    "flat": (lambda one: one.update(segmentation=SQUARE), "annotation 7: a coordinate of its polygon is not a number"),
    "short runs": (
        lambda one: one.update(segmentation={"size": [48, 64], "counts": [5, 5]}),
        "annotation 7: its run lengths add up to 10 pixels, not to",
    ),
    "negative runs": (
        lambda one: one.update(segmentation={"size": [48, 64], "counts": [5, -5]}),
        "annotation 7: its run lengths are not whole numbers",
    ),
    "huge runs": (
        lambda one: one.update(segmentation={"size": [48, 64], "counts": [10**30]}),
        "annotation 7: its run lengths are not whole numbers",
    ),
    "bad text": (
        lambda one: one.update(segmentation={"size": [48, 64], "counts": "é"}),
        "annotation 7: its compressed run lengths contain 'é'",
    ),
    "other size": (
        lambda one: one.update(segmentation={"size": [8, 8], "counts": [64]}),
        "annotation 7: its segmentation is neither polygons nor run lengths of 48 x 64 pixels",
    ),
    "image": (lambda one: one.update(image_id=99), "annotation 7: its image_id is not one of the file's images"),
    "category": (lambda one: one.update(category_id=99), "annotation 7: its category_id is not one of the file's categories"),
}


@pytest.mark.filterwarnings("ignore::bcdseg.errors.DataWarning")
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_coco_annotation_is_named(tmp_path: Path, name: str) -> None:
    images(tmp_path, "a.png")
    content = coco({"segmentation": [SQUARE]})
    DAMAGED[name][0](content["annotations"][0])
    path = write(tmp_path / "coco.json", content)
    with pytest.raises(DatasetError) as caught:
        bcdseg.open_dataset(tmp_path)
    assert f"{path}: {DAMAGED[name][1]}" in str(caught.value)


@pytest.mark.filterwarnings("ignore::bcdseg.errors.DataWarning")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', "coco.json: is not valid JSON"),
        ({"images": []}, "coco.json: needs the lists images, annotations, categories"),
        ({**coco(), "images": [{"id": 0}]}, "coco.json: an image or a category has no 'file_name'"),
        ({**coco(), "images": [{"id": 0, "file_name": "a.png", "height": 0, "width": 5}]}, "image a.png: its height 0 and width 5"),
        (coco(names=("missing.png",)), r"coco.json: .*missing\.png: no such file"),
        (coco(names=("a.png", "a.png")), r"a\.png: is annotated twice"),
        (
            {**coco(), "images": [{"id": 1, "file_name": name, "height": 48, "width": 64} for name in ("a.png", "b.png")]},
            "two images have the id 1",
        ),
        (
            {**coco(), "categories": [{"id": 1, "name": name} for name in ("benign", "malignant")]},
            "two categories have the id 1",
        ),
    ],
)
def test_a_damaged_coco_file_is_named(tmp_path: Path, content: Any, message: str) -> None:
    images(tmp_path, "a.png")
    write(tmp_path / "coco.json", content)
    with pytest.raises(DatasetError, match=message):
        bcdseg.open_dataset(tmp_path)


@pytest.mark.parametrize("masked", [True, False])
def test_a_folder_of_scans_with_a_coco_file_is_refused_until_one_of_both_is_named(tmp_path: Path, masked: bool) -> None:
    layout = "busi" if masked else "class_folders"
    for name in ("benign/benign (1)", "malignant/malignant (1)"):
        save(tmp_path / f"{name}.png", scan(0)[0])
        if masked:
            save(tmp_path / f"{name}_mask.png", scan(0)[1])
    write(tmp_path / "out/coco.json", coco({"segmentation": [SQUARE]}, names=("benign (1).png",)))
    with pytest.raises(DatasetError, match=rf"layout 'coco', and has the layout '{layout}'\. Choose one: layout='{layout}'"):
        bcdseg.open_dataset(tmp_path)
    assert bcdseg.open_dataset(tmp_path, layout).classes == ("benign", "malignant")


@pytest.mark.parametrize("content", [{"type": "FeatureCollection"}, {"info": {}, "images": []}])
def test_json_files_of_other_formats_are_not_taken_for_coco(tmp_path: Path, content: Any) -> None:
    images(tmp_path, "benign/a.png", "malignant/b.png")
    write(tmp_path / "other.json", content)
    assert bcdseg.open_dataset(tmp_path).layout == bcdseg.open_dataset(tmp_path, "class_folders").layout


def labelme(*shapes: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {"label": "benign", "points": POINTS, "group_id": None, "shape_type": "polygon", "flags": {}, **one} for one in shapes
        ],
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
        **options,
    }


def test_labelme_shapes(tmp_path: Path) -> None:
    images(tmp_path, *(f"{name}.png" for name in "abcdef"))
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 20), 1, np.uint8)).save(buffer, "PNG")
    bitmap = {"shape_type": "mask", "points": [[10, 5], [29, 24]], "mask": base64.b64encode(buffer.getvalue()).decode()}
    second = {"points": [[40, 30], [50, 30], [50, 40], [40, 40]]}
    shapes: dict[str, tuple[dict[str, Any], ...]] = {
        "a": ({},),
        "b": (bitmap,),
        "c": ({"group_id": 1}, {"group_id": 1, **second}, {"shape_type": "line", "points": [[0, 0], [9, 9]]}),
        "d": ({"shape_type": "circle", "points": [[32, 24], [42, 24]]},),
        "e": ({"shape_type": "rectangle", "points": [[10, 5], [30, 25]]},),
        "f": (),
    }
    for name, own in shapes.items():
        write(tmp_path / f"{name}.json", labelme(*own, imagePath=f"{name}.png"))
    with pytest.warns(DataWarning, match=r"boxes in place of outlines: their mask is unknown \(e\.png\)"):
        data = bcdseg.open_dataset(tmp_path)
    assert "LabelMe" in data.layout
    assert (mask_of(data, "a.png") == square()).all()
    assert (mask_of(data, "b.png") == square()).all()
    both = square()
    both[30:40, 40:50] = True
    assert (mask_of(data, "c.png") == both).all()
    assert len(data["c.png"].masks) == 1
    disc = np.zeros(SIZE, bool)
    disc[ellipse(23.5, 31.5, 10, 10)] = True
    assert (mask_of(data, "d.png") != disc).sum() < 20
    assert mask_of(data, "e.png") is None
    empty = mask_of(data, "f.png")
    assert empty is not None
    assert not empty.any()
    assert [one.label for one in data] == ["benign"] * 5 + [None]


def test_a_scan_with_points_or_lines_alone_has_an_unknown_mask(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    line = {"shape_type": "line", "points": POINTS[:2]}
    write(tmp_path / "a.json", labelme(line, imagePath="a.png"))
    write(tmp_path / "b.json", labelme({}, line, imagePath="b.png"))
    with pytest.warns(DataWarning, match=r"their mask is unknown, not empty \(a\.png\)"):
        data = bcdseg.open_dataset(tmp_path)
    assert mask_of(data, "a.png") is None
    assert (mask_of(data, "b.png") == square()).all()


def test_labelme_in_a_folder_of_its_own_with_windows_paths(tmp_path: Path) -> None:
    images(tmp_path, "scans/a.png")
    write(tmp_path / "json/a.json", labelme({}, imagePath="..\\scans\\a.png", flags={"malignant": True, "checked": False}))
    with pytest.warns(DataWarning, match="not the class of their lesions"):  # the shape is benign
        data = bcdseg.open_dataset(tmp_path)
    assert data.ids == ("scans/a.png",)
    assert data[0].label == "malignant"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": "5", "shapes": [', "a.json: is not valid JSON"),
        (labelme(imagePath=None), "a.json: needs 'shapes' and 'imagePath'"),
        (labelme(imageHeight=None), "a.json: the image: its height None"),
        (labelme({}, {"points": POINTS[:2]}), "a.json: shape 2: its polygon has 4 numbers"),
        (
            labelme({"points": [[9, -1], [20, -1], [20, -9]]}),
            "a.json: shape 1: its polygon is outside of the image.*-9 to -1",
        ),
        (labelme({"points": [[1, 2, 3]]}), "a.json: shape 1: a point is not x and y"),
        (labelme({"label": None}), "a.json: shape 1: needs 'label' and 'points'"),
        (labelme({"shape_type": "star"}), "a.json: shape 1: its shape_type 'star' is unknown"),
        (labelme({"shape_type": "mask", "mask": "no"}), "a.json: shape 1: its mask is not a PNG file"),
        (labelme({"shape_type": "circle"}), "a.json: shape 1: a circle has its centre and one point"),
    ],
)
def test_damaged_labelme_files_are_named(tmp_path: Path, content: Any, message: str) -> None:
    images(tmp_path, "a.png")
    write(tmp_path / "a.json", content)
    with pytest.raises(DatasetError, match=message):
        bcdseg.open_dataset(tmp_path)


def cvat(*shapes: str, name: str = "scans/a.png") -> str:
    image = f'<image id="0" name="{name}" subset="Test" width="64" height="48">{"".join(shapes)}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/>{image}</annotations>'


SQUARE_XML = '<polygon label="malignant" points="10.00,5.00;30.00,5.00;30.00,25.00;10.00,25.00" z_order="0"></polygon>'


@pytest.mark.parametrize(
    "shape",
    [SQUARE_XML, '<mask label="malignant" rle="0, 400" left="10" top="5" width="20" height="20"></mask>'],
)
def test_cvat_polygons_and_masks(tmp_path: Path, shape: str) -> None:
    images(tmp_path, "images/scans/a.png")
    write(tmp_path / "annotations.xml", cvat(shape, '<points label="caliper" points="1,1;2,2"></points>'))
    data = bcdseg.open_dataset(tmp_path)
    assert "CVAT" in data.layout
    assert [(one.id, one.label, one.part) for one in data] == [("images/scans/a.png", "malignant", "test")]
    assert (mask_of(data) == square()).all()


def test_cvat_ellipses_and_tags(tmp_path: Path) -> None:
    images(tmp_path, "scans/a.png")
    turned = '<ellipse label="lesion" cx="32" cy="24" rx="20" ry="8" rotation="90"></ellipse><tag label="benign"></tag>'
    data = bcdseg.open_dataset(write(tmp_path / "annotations.xml", cvat(turned)))
    expected = np.zeros(SIZE, bool)
    expected[ellipse(23.5, 31.5, 20, 8)] = True
    mask = mask_of(data)
    assert mask is not None
    assert (mask != expected).sum() < 30
    assert data[0].label == "benign"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotations><image>", r"a\.xml: is not valid XML"),
        ("<annotations><track></track></annotations>", r"a\.xml: contains tracks of a video"),
        (cvat('<polygon label="x" points="1,2;3,4"/>'), r"a\.xml: image scans/a\.png: polygon 1: its polygon has 4 numbers"),
        (cvat('<polygon label="x"/>'), "polygon 1: a coordinate of its polygon is not a number"),
        (cvat('<ellipse label="x" cx="-32" cy="24" rx="9" ry="8"/>'), "ellipse 1: its polygon is outside of the image"),
        (cvat('<mask label="x" rle="5" left="1" top="1" width="2" height="2"/>'), "mask 1: its run lengths add up to 5 pixels"),
        (cvat('<mask label="x" rle="4" left="63" top="1" width="2" height="2"/>'), "mask 1: its mask is outside of the image"),
        (cvat('<mask label="x" rle="a" left="1" top="1" width="2" height="2"/>'), "mask 1: rle='a' is not numbers"),
        (cvat('<ellipse label="x" cx="1"/>'), "ellipse 1: needs the numbers cx, cy, rx and ry"),
        (cvat("<star/>"), "star 1: is an unknown shape"),
    ],
)
def test_damaged_cvat_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    images(tmp_path, "scans/a.png")
    write(tmp_path / "a.xml", content)
    with pytest.raises(DatasetError, match=message):
        bcdseg.open_dataset(tmp_path)


def yolo(folder: Path, text: str, yaml: str = "train: images\nnames: [benign, malignant]\n") -> None:
    images(folder, "images/a.png")
    write(folder / "labels/a.txt", text)
    write(folder / "data.yaml", yaml)


LINE = "1 0.15625 0.104167 0.46875 0.104167 0.46875 0.520833 0.15625 0.520833\n"


def test_yolo_segmentation(tmp_path: Path) -> None:
    yolo(tmp_path, LINE, "train: images\nnames:\n  0: benign\n  1: malignant\n")
    data = bcdseg.open_dataset(tmp_path)
    assert "YOLO" in data.layout
    assert [(one.id, one.label, one.part) for one in data] == [("images/a.png", "malignant", "train")]
    assert (mask_of(data) == square()).all()


def test_yolo_as_roboflow_lays_it_out_and_with_classes_txt(tmp_path: Path) -> None:
    images(tmp_path, "valid/images/a.png", "valid/images/b.png")
    write(tmp_path / "valid/labels/a.txt", LINE)
    write(tmp_path / "valid/labels/b.txt", "0 0.5 0.5 0.2 0.2\n")
    write(tmp_path / "classes.txt", "benign\nmalignant\n")
    with pytest.warns(DataWarning, match="boxes in place of outlines"):
        data = bcdseg.open_dataset(tmp_path)
    assert [(one.label, one.part, len(one.masks)) for one in data] == [("malignant", "val", 1), ("benign", "val", 0)]


def test_yolo_texts_with_other_suffixes_and_without_images(tmp_path: Path) -> None:
    images(tmp_path, "images/A.PNG")
    for name in ("A.TXT", "renamed.txt", "classes.txt"):
        write(tmp_path / "labels" / name, LINE)
    write(tmp_path / "data.yaml", "names: [benign, malignant]\n")
    with pytest.warns(DataWarning, match=r"have a text file and no image file: they are left out \(labels/renamed\.txt\)"):
        data = bcdseg.open_dataset(tmp_path)
    assert [(one.id, one.label) for one in data] == [("images/A.PNG", "malignant")]
    assert (mask_of(data, "images/A.PNG") == square()).all()


def test_yolo_folders_inside_each_other(tmp_path: Path) -> None:
    for folder in ("images", "images/val", "images/val/far"):
        images(tmp_path, f"{folder}/a.png")
        write(tmp_path / f"{folder.replace('images', 'labels')}/a.txt", LINE)
    write(tmp_path / "data.yaml", "train: images\nval: images/val\ntest: images/val/far\nnames: [benign, malignant]\n")
    parts = {one.id: one.part for one in bcdseg.open_dataset(tmp_path)}
    assert parts == {"images/a.png": "train", "images/val/a.png": "val", "images/val/far/a.png": "test"}


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_yolo_images_that_exif_turns(tmp_path: Path, orientation: int) -> None:
    turned = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]  # quarter turns to the left of the stored pixels
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.rot90(scan(0)[0], turned).copy())
    (tmp_path / "images").mkdir()
    stored.save(tmp_path / "images/a.jpg", exif=exif)
    write(tmp_path / "labels/a.txt", LINE)
    write(tmp_path / "data.yaml", "train: images\nnames: [benign, malignant]\n")
    data = bcdseg.open_dataset(tmp_path)
    pixels, mask = data.read(data[0])
    assert pixels.shape == SIZE
    assert (mask == square()).all()


@pytest.mark.parametrize(
    ("text", "yaml", "message"),
    [
        ("2 0 0 1 0 1 1\n", None, r"a\.txt: line 1: the class '2' is not one of the 2 classes"),
        ("0 0 0 1 0 1 1\nx 0 0 1 0 1 1", None, r"a\.txt: line 2: the class 'x'"),
        ("0 0 0 1 0 1 1 1\n", None, r"a\.txt: line 1: its polygon has 7 numbers"),
        ("0 0 0 64 0 1 1\n", None, r"a\.txt: line 1: a coordinate is not a fraction"),
        ("0 0 0 nan 0 1 1\n", None, r"a\.txt: line 1: its polygon"),
        (LINE, "names: [", r"data\.yaml: is not valid YAML"),
        (LINE, "names: text", r"data\.yaml: 'names' is neither"),
        (LINE, "train: list.txt\nnames: [a, b]", "lists of files are not read"),
    ],
)
def test_damaged_yolo_files_are_named(tmp_path: Path, text: str, yaml: str | None, message: str) -> None:
    yolo(tmp_path, text, *([yaml] if yaml else []))
    with pytest.raises(DatasetError, match=message):
        bcdseg.open_dataset(tmp_path)


def nnunet(folder: Path, labels: dict[str, Any], values: np.ndarray, ending: str = ".png", **options: Any) -> None:
    pixels = scan(0)[0]
    for name, array in ((f"imagesTr/a_0000{ending}", pixels), (f"labelsTr/a{ending}", values)):
        if ending == ".png":
            save(folder / name, array)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            image = SimpleITK.GetImageFromArray(array[None])
            image.SetSpacing((0.08, 0.1, 999))
            SimpleITK.WriteImage(image, str(folder / name))
    description = {"channel_names": {"0": "US"}, "labels": labels, "numTraining": 1, "file_ending": ending, **options}
    write(folder / "dataset.json", description)


@pytest.mark.parametrize("ending", [".png", ".nii.gz"])
def test_nnunet_classes_by_value(tmp_path: Path, ending: str) -> None:
    nnunet(tmp_path, {"background": 0, "benign": 1, "malignant": 2}, square().astype(np.uint8) * 2, ending)
    data = bcdseg.open_dataset(tmp_path)
    assert "nnU-Net" in data.layout
    assert [(one.id, one.label, one.part) for one in data] == [(f"imagesTr/a_0000{ending}", "malignant", "train")]
    assert (mask_of(data) == square()).all()
    assert data[0].spacing == (None if ending == ".png" else pytest.approx((0.1, 0.08)))


def test_nnunet_stacks_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(square().astype(np.uint8) * value) for value in (1, 2)]
    nnunet(tmp_path, {"background": 0, "benign": 1, "malignant": 2}, square().astype(np.uint8))
    pages[0].save(tmp_path / "labelsTr/a.png", save_all=True, append_images=pages[1:], format="TIFF")
    with pytest.raises(DatasetError, match=r"a\.png.*several frames or pages"):
        bcdseg.open_dataset(tmp_path)


def test_nnunet_labels_of_version_1_and_test_images(tmp_path: Path) -> None:
    nnunet(tmp_path, {"0": "background", "1": "tumor"}, square().astype(np.uint8))
    images(tmp_path, "imagesTs/b_0000.png")
    data = bcdseg.open_dataset(tmp_path)
    assert [(one.label, one.part, len(one.masks)) for one in data] == [(None, "train", 1), (None, "test", 0)]


def test_nnunet_regions_several_classes_and_ignored_pixels(tmp_path: Path) -> None:
    values = square().astype(np.uint8)
    values[30:40, 40:50] = 2
    nnunet(tmp_path / "regions", {"background": 0, "whole": [1, 2], "core": [2]}, values)
    data = bcdseg.open_dataset(tmp_path / "regions")
    assert (mask_of(data) == (values > 0)).all()
    nnunet(tmp_path / "classes", {"background": 0, "benign": 1, "malignant": 2}, values)
    with pytest.warns(DataWarning, match="several classes"):
        data = bcdseg.open_dataset(tmp_path / "classes")
    assert (mask_of(data) == (values > 0)).all()
    nnunet(tmp_path / "ignored", {"background": 0, "lesion": 1, "ignore": 2}, values)
    with pytest.warns(DataWarning, match="partly annotated"):
        data = bcdseg.open_dataset(tmp_path / "ignored")
    assert mask_of(data) is None


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ({"background": 0, "lesion": [1, 2], "benign": 1, "malignant": 2}, "malignant"),
        ({"background": 0, "lesion": [1, 2], "benign": [1], "malignant": [2]}, "malignant"),
        ({"background": [0], "malignant": [2], "lesion": [1, 2], "benign": [1]}, "malignant"),
        ({"background": 0, "malignant": [1, 2], "core": 2}, None),
    ],
)
def test_nnunet_regions_are_classes_if_each_value_has_a_name_of_its_own(
    tmp_path: Path, labels: dict[str, Any], label: str | None
) -> None:
    nnunet(tmp_path, labels, square().astype(np.uint8) * 2)
    data = bcdseg.open_dataset(tmp_path)
    assert data[0].label == label
    assert (mask_of(data) == square()).all()


@pytest.mark.parametrize(
    ("labels", "value", "message"),
    [
        ({"background": 0, "benign": "one"}, 1, r"dataset\.json: its label 'benign' has the value 'one'"),
        ({"background": 0, "benign": [1, None]}, 1, r"dataset\.json: its label 'benign' has the value \[1, None\]"),
        ({"background": 0, "benign": 1, "malignant": 2}, 3, r"labelsTr/a\.png: contains the value 3"),
        ({"background": 0}, 1, r"dataset\.json: its 'labels' name no lesion"),
    ],
)
def test_nnunet_labels_that_do_not_fit_are_named(tmp_path: Path, labels: dict[str, Any], value: int, message: str) -> None:
    nnunet(tmp_path, labels, square().astype(np.uint8) * value)
    with pytest.raises(DatasetError, match=message):
        bcdseg.open_dataset(tmp_path)


def test_nnunet_channels_and_missing_labels_are_named(tmp_path: Path) -> None:
    nnunet(tmp_path, {"background": 0, "tumor": 1}, square().astype(np.uint8))
    images(tmp_path, "imagesTr/b_0000.png", "imagesTr/c_0000.png", "imagesTr/c_0001.png")
    with pytest.raises(DatasetError, match=r"(?s)b_0000\.png: its label image .* is missing.*c_0000\.png: has several channels"):
        bcdseg.open_dataset(tmp_path)


def test_nnunet_labels_without_an_image_are_named(tmp_path: Path) -> None:
    nnunet(tmp_path, {"background": 0, "tumor": 1}, square().astype(np.uint8))
    save(tmp_path / "labelsTr/gone.png", square().astype(np.uint8))
    with pytest.warns(DataWarning, match=r"no image file: they are left out \(labelsTr/gone\.png\)"):
        assert len(bcdseg.open_dataset(tmp_path)) == 1


def test_an_annotation_file_of_no_known_format_is_refused(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    with pytest.raises(DatasetError, match="layout that isn't recognised"):
        bcdseg.open_dataset(write(tmp_path / "settings.json", {"a": 1}))
