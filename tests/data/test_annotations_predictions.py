"""Predictions as annotations, to be corrected and trained on."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import made_dicom
import numpy as np
import pytest
from made import save
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.draw import disk
from typer.testing import CliRunner

import bcdseg
from bcdseg.batch.run_manifest import Journal
from bcdseg.batch.runner import OutputFolder
from bcdseg.cli import app
from bcdseg.data.annotations.polygons import fill
from bcdseg.errors import OptionError, OutputExistsError
from bcdseg.inference.lesions import find_lesions

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
NEAR = np.ones((3, 3))


@pytest.fixture
def prediction(small_model: bcdseg.Model, scan: NDArray[np.uint8], tmp_path: Path) -> bcdseg.Prediction:
    """Return a prediction of a file with a large lesion that has a hole, and a small one."""
    made = small_model.predict(save(tmp_path / "scans/a.png", scan))
    mask = np.zeros(scan.shape, bool)
    mask[disk((60, 50), 30)] = True
    mask[disk((60, 50), 8)] = False
    mask[disk((60, 130), 12)] = True
    mask, lesions = find_lesions(mask, np.full(scan.shape, 0.75, np.float32), min_share=0, spacing=None)
    return replace(made, mask=mask, lesions=lesions)


def test_polygons_are_those_of_the_lesions_with_their_holes(prediction: bcdseg.Prediction) -> None:
    assert len(prediction.polygons) == len(prediction.lesions) == 2
    assert prediction.mask is not None
    for polygon, lesion in zip(prediction.polygons, prediction.lesions, strict=True):
        rows, columns = np.array(polygon.outer).T
        assert lesion.box == (rows.min() + 0.5, columns.min() + 0.5, rows.max() + 0.5, columns.max() + 0.5)
    assert [len(one.holes) for one in prediction.polygons] == [1, 0]
    assert (fill([np.ravel(one.corners()) for one in prediction.polygons], prediction.size) == prediction.mask).all()


def test_a_model_without_masks_has_no_polygons(prediction: bcdseg.Prediction, tmp_path: Path) -> None:
    classified = replace(prediction, mask=None, lesions=())
    assert classified.polygons == ()
    with pytest.raises(OptionError, match="only classifies"):
        classified.save_annotations(tmp_path / "out")


@pytest.mark.parametrize("format", ["coco", "labelme"])
def test_outlines_come_back_as_training_data(prediction: bcdseg.Prediction, tmp_path: Path, format: str) -> None:
    folder = tmp_path / "out"
    files = prediction.save_annotations(folder, format=format)
    assert files == [folder / ("annotations.json" if format == "coco" else "a.json")]
    data = bcdseg.open_dataset(files[0] if format == "coco" else folder)
    assert [(one.id, one.label) for one in data] == [("a.png", prediction.label)]
    pixels, mask = data.read(data[0])
    assert (pixels == prediction.image).all()
    assert mask is not None
    assert not (mask & ~binary_dilation(prediction.mask, NEAR)).any()
    assert not (binary_erosion(prediction.mask, NEAR) & ~mask).any()
    prediction.save_annotations(folder, format=format, tolerance=0, overwrite=True)
    assert (bcdseg.open_dataset(files[0] if format == "coco" else folder).read("a.png")[1] == prediction.mask).all()


def test_a_corrected_class_of_a_lesion_that_the_label_contradicts_is_named(prediction: bcdseg.Prediction, tmp_path: Path) -> None:
    (file,) = (path for path in prediction.save_annotations(tmp_path, format="labelme") if path.suffix == ".json")
    other = next(name for name in prediction.probabilities if name != prediction.label)
    file.write_text(file.read_text().replace(f'"label": "{prediction.label}"', f'"label": "{other}"'))
    with pytest.warns(bcdseg.errors.DataWarning, match="1 images have a label that is not the class of their lesions.*the flag"):
        assert bcdseg.open_dataset(tmp_path)[0].label == prediction.label


def test_pycocotools_reads_the_predictions(prediction: bcdseg.Prediction, tmp_path: Path) -> None:
    prediction.save_annotations(tmp_path / "out")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "out/annotations.json"))
    assert [one["file_name"] for one in coco.dataset["images"]] == ["a.png"]
    assert [one["score"] for one in coco.dataset["annotations"]] == [0.75, 0.75]
    drawn = np.any([coco.annToMask(one) for one in coco.dataset["annotations"]], axis=0)
    assert not (drawn & ~binary_dilation(prediction.mask, NEAR)).any()
    assert not (binary_erosion(prediction.mask, NEAR) & ~drawn).any()


def test_geojson_has_polygons_with_holes_and_closed_rings(prediction: bcdseg.Prediction, tmp_path: Path) -> None:
    prediction.save_annotations(tmp_path / "out", format="geojson", tolerance=0)
    content = json.loads((tmp_path / "out/a.geojson").read_text(encoding="utf-8"))
    assert (content["type"], content["height"], content["width"]) == ("FeatureCollection", *prediction.size)
    assert content["probabilities"] == dict(prediction.probabilities)
    drawn = np.zeros(prediction.size, bool)
    for feature, lesion in zip(content["features"], prediction.lesions, strict=True):
        assert feature["geometry"]["type"] == "Polygon"
        assert feature["properties"]["area_px"] == lesion.area_px
        outer, *holes = feature["geometry"]["coordinates"]
        assert all(ring[0] == ring[-1] for ring in (outer, *holes))
        drawn |= fill([np.ravel(outer)], prediction.size) & ~fill([np.ravel(hole) for hole in holes], prediction.size)
    assert (drawn == prediction.mask).all()


def test_several_scans_go_into_one_coco_file_and_dicom_becomes_png(
    prediction: bcdseg.Prediction, small_model: bcdseg.Model, scan: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "scans/b.dcm"
    made_dicom.save(made_dicom.dicom(scan, made_dicom.region((0, 0, *scan.shape))), path)
    other = small_model.predict(path)
    files = bcdseg.save_annotations([prediction, other], tmp_path / "out")
    assert sorted(one.name for one in files) == ["annotations.json", "b.png"]
    data = bcdseg.open_dataset(tmp_path / "out/annotations.json")
    assert len(data) == 2
    for sample, one in zip(data, (prediction, other), strict=True):
        assert (data.read(sample)[0] == one.image).all()


def test_files_are_kept_and_formats_are_checked(prediction: bcdseg.Prediction, tmp_path: Path) -> None:
    prediction.save_annotations(tmp_path)
    with pytest.raises(OutputExistsError):
        prediction.save_annotations(tmp_path)
    with pytest.raises(OptionError, match="'labelme'"):
        prediction.save_annotations(tmp_path, format="via")


@pytest.fixture
def folders(small_model: bcdseg.Model, scan: NDArray[np.uint8], tmp_path: Path) -> tuple[str, ...]:
    """Return arguments of the command line for a saved model and two scans, one of them DICOM."""
    small_model.save(tmp_path / "model")
    save(tmp_path / "scans/a.png", scan)
    made_dicom.save(made_dicom.dicom(scan, made_dicom.region((0, 0, *scan.shape))), tmp_path / "scans/b.dcm")
    return ("predict", str(tmp_path / "scans"), "--model", str(tmp_path / "model"), "--threshold", "0.4")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, OptionError):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("format", ["coco", "labelme", "geojson"])
def test_the_command_line_writes_annotations_next_to_masks(folders: tuple[str, ...], tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    code, output = run(*folders, "--out", str(out), "--annotations", format)
    assert code == 0, output
    if format == "geojson":
        assert {"a.geojson", "b.geojson"} <= {path.name for path in out.iterdir()}
        return
    data = bcdseg.open_dataset(out / "annotations.json") if format == "coco" else bcdseg.open_dataset(out, layout="labelme")
    assert len(data) == 2
    for sample, name in zip(data, "ab", strict=True):
        mask = data.read(sample)[1]
        written = np.asarray(Image.open(out / f"{name}_mask.png")) > 0
        assert mask is not None
        assert (mask != written).mean() < 0.05


def test_a_resumed_run_has_the_annotations_of_all_scans(folders: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = (*folders, "--out", str(out), "--annotations", "coco")
    assert run(*first)[0] == 0
    before = json.loads((out / "annotations.json").read_text())
    save(tmp_path / "scans/c.png", np.zeros((50, 60), np.uint8))
    code, output = run(*first, "--resume")
    assert code == 0, output
    after = json.loads((out / "annotations.json").read_text())
    assert [one["file_name"] for one in after["images"]] == ["a.png", "b.png", "c.png"]
    assert after["images"][:2] == before["images"]


def test_annotations_need_a_folder_and_this_process(folders: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="name their folder with --out"):
        run(*folders, "--annotations", "coco")
    with pytest.raises(OptionError, match="--engine ray writes no --annotations"):
        run(*folders, "--annotations", "coco", "--engine", "ray", "--out", str(tmp_path / "out"))


def test_arrays_of_one_shape_get_files_of_their_own(small_model: bcdseg.Model, scan: NDArray[np.uint8], tmp_path: Path) -> None:
    predictions = (small_model.predict(pixels) for pixels in (scan, scan[::-1].copy(), scan[:, ::-1].copy()))
    written = bcdseg.save_annotations(predictions, tmp_path / "out")  # type: ignore[arg-type]
    images = [one["file_name"] for one in json.loads((tmp_path / "out/annotations.json").read_text())["images"]]
    assert len(set(images)) == 3
    assert sorted(tmp_path / "out" / one for one in [*images, "annotations.json"]) == sorted(written)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / images[1])), scan[::-1])


@pytest.mark.parametrize("format", ["coco", "labelme", "geojson"])
def test_lesions_of_two_regions_that_touch_are_one_outline(prediction: bcdseg.Prediction, format: str, tmp_path: Path) -> None:
    touching = replace(prediction, lesions=(*prediction.lesions, prediction.lesions[0]))
    assert len(touching.polygons) == 2
    for path in bcdseg.save_annotations(touching, tmp_path / "out", format=format):
        assert "0.75" not in path.read_text()


def test_a_model_without_masks_is_refused_before_prediction(scan: NDArray[np.uint8], tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["benign", "malignant"], decoder=None, size=32).save(tmp_path / "model")
    image = save(tmp_path / "a.png", scan)
    arguments = ["predict", str(image), "--model", str(model), "--out", str(tmp_path / "out"), "--annotations", "coco"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert not (tmp_path / "out").exists()
    assert "only classifies" in str(result.exception) + result.output


def test_a_scan_that_cannot_be_annotated_is_a_failure_of_its_own(prediction: bcdseg.Prediction, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out", {}, resume=False, overwrite=False)
    folder = OutputFolder(tmp_path / "out", [Path(prediction.source)], journal, masks=False, overlay=False, annotations="coco")
    result, files, entries = folder.add(replace(prediction, mask=None, lesions=()))
    assert isinstance(result, bcdseg.Failure)
    assert "only classifies" in str(result.error)
    assert (files, entries) == ([], [])
