"""Predicting DICOM: millimetres, scan areas, clips, media, and no patient data in the results."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import shutil
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from bright import Bright, bright_model
from drawn import draw_ellipse, draw_scan
from made_dicom import IDENTIFIERS, content, dicom, region, save
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet
from typer.testing import CliRunner

import bcdseg
from bcdseg import Failure, Model, Prediction, errors
from bcdseg.cli import app
from bcdseg.inference.clips import without_maps

BOX = (40, 60, 280, 380)


@pytest.fixture(scope="module")
def bright() -> Model:
    return bright_model()


def _screen(
    lesion: NDArray[np.bool_], box: tuple[int, int, int, int] = BOX, size: tuple[int, int] = (320, 400)
) -> NDArray[np.uint8]:
    """Return a machine's screen: white texts around a dark scan area with a bright lesion in it."""
    screen = np.full(size, 255, np.uint8)
    screen[box[0] : box[2], box[1] : box[3]] = 20
    screen[lesion] = 230
    return screen


def _ellipse(mm: tuple[float, float], pitch: tuple[float, float], centre: tuple[float, float], size: tuple[int, int]) -> Any:
    return draw_ellipse(size, centre, (mm[0] / 2 / pitch[0], mm[1] / 2 / pitch[1]))


@pytest.mark.parametrize("pitch", [(0.2, 0.2), (0.15, 0.25)], ids=["square", "not square"])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_ellipse_of_23_by_11_and_a_half_millimetres(
    bright: Model, tmp_path: Path, pitch: tuple[float, float], sign: int
) -> None:
    lesion = _ellipse((11.5, 23.0), pitch, (150, 210), (320, 400))
    made = dicom(_screen(lesion), region(BOX, (sign * pitch[0] / 10, pitch[1] / 10)))
    scan = bright.predict(save(made, tmp_path / "scan.dcm"))
    (found,) = scan.lesions
    assert found.long_axis_mm == pytest.approx(23.0, abs=max(pitch) / 2)
    assert found.short_axis_mm == pytest.approx(11.5, abs=max(pitch) / 2)
    assert found.area_mm2 == pytest.approx(np.pi * 23.0 * 11.5 / 4, rel=0.01)
    assert (scan.spacing, scan.spacing_from) == (pytest.approx(pitch), "ultrasound region")
    assert scan.to_dict()["spacing_from"] == "ultrasound region"
    np.testing.assert_array_equal(scan.mask, lesion)


def test_the_screen_around_the_scan_reaches_neither_network_nor_picture(bright: Model) -> None:
    lesion = _ellipse((11.5, 23.0), (0.2, 0.2), (150, 210), (320, 400))
    made = dicom(_screen(lesion), region(BOX, (0.02, 0.02)))
    scan = bright.predict(content(made))
    outside = np.ones(scan.size, bool)
    outside[BOX[0] : BOX[2], BOX[1] : BOX[3]] = False
    assert scan.area == BOX
    assert not scan.image[outside].any()
    assert not np.asarray(scan.overlay())[outside].any()
    assert not scan.mask_probability[outside].any()
    assert "saturated" not in [flag.code for flag in scan.flags]
    kept = bright.predict(content(made), identity="pacs")
    assert (kept.image[outside] == 255).all()
    np.testing.assert_array_equal(kept.mask, scan.mask)


def test_the_users_own_scale_comes_first(bright: Model) -> None:
    made = dicom(_screen(draw_ellipse((320, 400), (150, 210), (20, 40))), region(BOX))
    scan = bright.predict(content(made), spacing=0.5)
    assert (scan.spacing, scan.spacing_from) == ((0.5, 0.5), "given")


@pytest.mark.parametrize(
    ("regions", "elements", "spacing", "origin"),
    [
        ([region(BOX, (0.0, 0.01))], {}, None, None),
        ([region(BOX, (0.01, float("nan")))], {}, None, None),
        ([region(BOX, (1e-9, 1e-9))], {}, None, None),
        ([region(BOX, units=4)], {}, None, None),
        ([region(BOX, units=4)], {"PixelSpacing": ["0.3", "0.4"]}, (0.3, 0.4), "pixel spacing"),
        ([region(BOX, data_type=3, form=3)], {"PixelSpacing": ["0.3", "0.4"]}, (0.3, 0.4), "pixel spacing"),
        ([], {"ImagerPixelSpacing": ["0.07", "0.07"]}, (0.07, 0.07), "imager pixel spacing"),
        ([], {"PixelSpacing": ["0.06", "0.06"], "ImagerPixelSpacing": ["0.07", "0.07"]}, (0.06, 0.06), "pixel spacing"),
        ([], {"PixelSpacing": ["0", "0.06"]}, None, None),
        ([], {}, None, None),
        ([region(BOX, (0.02, 0.02))], {"PixelSpacing": ["0.3", "0.4"]}, (0.2, 0.2), "ultrasound region"),
    ],
)
def test_where_the_scale_comes_from(bright: Model, regions: list[Any], elements: dict[str, Any], spacing: Any, origin: Any) -> None:
    scan = bright.predict(dicom(_screen(draw_ellipse((320, 400), (150, 210), (20, 40))), *regions, **elements))
    assert (scan.spacing, scan.spacing_from) == (spacing and pytest.approx(spacing), origin)
    assert scan.lesions[0].long_axis_px > 0
    assert (scan.lesions[0].long_axis_mm is None) == (spacing is None)


def test_doppler_and_m_mode_are_not_scans(bright: Model) -> None:
    size = (400, 400)
    scan_box, trace = (10, 20, 200, 380), (220, 0, 400, 400)
    screen = _screen(draw_ellipse(size, (100, 200), (20, 40)), scan_box, size)
    for form, kind in ((3, 3), (2, 1), (5, 9)):
        found = bright.predict(dicom(screen, region(trace, (0.5, 0.5), form=form, data_type=kind), region(scan_box, (0.01, 0.01))))
        assert found.area == scan_box
        assert found.spacing == pytest.approx((0.1, 0.1))


def test_two_areas_side_by_side_are_each_outlined_with_their_own_scale(bright: Model) -> None:
    size, left, right = (240, 500), (20, 10, 220, 250), (20, 255, 220, 495)
    small, large = draw_ellipse(size, (100, 130), (15, 20)), draw_ellipse(size, (110, 370), (30, 50))
    screen = _screen(small | large, left, size)
    screen[20:220, 255:495] = np.where(large[20:220, 255:495], 230, 20)
    scan = bright.predict(
        dicom(screen, region(left, (0.01, 0.01)), region(right, (0.02, 0.02)), region((50, 20, 90, 60), (0.5, 0.5)))
    )
    assert [lesion.long_axis_mm for lesion in scan.lesions] == [pytest.approx(20, abs=0.1), pytest.approx(4, abs=0.05)]
    assert (scan.area, scan.spacing) == (right, pytest.approx((0.2, 0.2)))
    assert "several-regions" in [flag.code for flag in scan.flags]
    np.testing.assert_array_equal(scan.mask, small | large)


def test_lesions_of_areas_with_different_zoom_are_ordered_by_millimetres(bright: Model, tmp_path: Path) -> None:
    size, left, right = (240, 500), (20, 10, 220, 250), (20, 255, 220, 495)
    wide, small = draw_ellipse(size, (100, 130), (20, 40)), draw_ellipse(size, (110, 370), (30, 50))
    screen = np.where(wide | small, 230, 20).astype(np.uint8)
    path = save(dicom(screen, region(left, (0.02, 0.02)), region(right, (0.008, 0.008))), tmp_path / "scan.dcm")
    scan = bright.predict(path)
    assert isinstance(scan, Prediction)
    assert [lesion.area_px for lesion in scan.lesions] == [wide.sum(), small.sum()]
    assert [lesion.long_axis_mm for lesion in scan.lesions] == [pytest.approx(16, abs=0.1), pytest.approx(8, abs=0.1)]
    assert (scan.area, scan.spacing) == (left, pytest.approx((0.2, 0.2)))
    for polygon, lesion in zip(scan.polygons, scan.lesions, strict=True):
        assert polygon.outer[0][1] == pytest.approx(lesion.centroid[1], abs=60)
    segments = pydicom.dcmread(scan.save_dicom_seg(tmp_path / "seg.dcm", kind="lesions"))
    assert segments.pixel_array.sum(axis=(1, 2)).tolist() == [wide.sum(), small.sum()]
    first, second = (replace(scan, frame=at, lesions=scan.lesions[2 - at : 3 - at]) for at in (1, 2))
    assert bcdseg.summarize_clip([first, second]).largest_frame == 2


def test_the_presence_threshold_is_applied_to_each_region(bright: Model) -> None:
    size, left, right = (240, 500), (20, 10, 220, 250), (20, 255, 220, 495)
    small, large = draw_ellipse(size, (100, 130), (15, 20)), draw_ellipse(size, (110, 370), (30, 50))
    screen = _screen(small, left, size)
    screen[20:220, 255:495] = np.where(large[20:220, 255:495], 230, 20)
    scan = dicom(screen, region(left, (0.01, 0.01)), region(right, (0.02, 0.02)))
    sized = Model(_Sized(bright.network), bright.preprocessing, bcdseg.Rules(presence_threshold=0.5))  # type: ignore[arg-type]
    found = sized.predict(scan)
    assert isinstance(found, bcdseg.Prediction)
    assert ([one.area_px for one in found.lesions], [one.area_px for one in found.candidates]) == ([small.sum()], [large.sum()])
    np.testing.assert_array_equal(found.mask, small)
    np.testing.assert_array_equal(found.candidate_mask, large)
    assert (found.area, found.label) == (left, "benign")
    assert "candidate" in [flag.code for flag in found.flags]


class _Sized(Bright):
    """Network that outlines bright pixels, and predicts the negative class where these are more than a twentieth of the region."""

    def forward(self, image: torch.Tensor) -> bcdseg.Output:
        output = super().forward(image)
        large = (image[:, :1] > 0.5).float().mean(dim=(1, 2, 3)) > 0.05
        return bcdseg.Output(output.mask, torch.stack([12.0 * large - 6, 0 * large + 1, 0 * large], dim=1).float())


def test_regions_of_another_frame_size_are_not_believed(bright: Model) -> None:
    scan = bright.predict(dicom(draw_scan(0, (120, 160)), region((20, 30, 240, 320), (0.05, 0.05))))
    assert (scan.area, scan.spacing) == ((0, 0, 120, 160), None)
    assert "regions-do-not-fit" in [flag.code for flag in scan.flags]
    one_past = bright.predict(dicom(draw_scan(0, (120, 160)), region((20, 30, 121, 161))))
    assert one_past.area == (20, 30, 120, 160)


def test_burned_in_names_and_other_modalities_are_flagged(bright: Model) -> None:
    codes = [flag.code for flag in bright.predict(dicom(draw_scan(0), BurnedInAnnotation="YES", Modality="OT")).flags]
    assert {"burned-in", "not-ultrasound"} <= set(codes)
    assert not {"burned-in", "not-ultrasound"} & {flag.code for flag in bright.predict(dicom(draw_scan(0))).flags}


def test_a_mammogram_of_16_bits_goes_through_whole() -> None:
    lesion = draw_ellipse((3000, 2400), (1500, 900), (150, 200))
    pixels = np.where(lesion, 500, 15000).astype(np.uint16)  # dark is bright
    made = dicom(
        pixels, photometric="MONOCHROME1", Modality="MG", BitsStored=14, HighBit=13, WindowCenter=8000, WindowWidth=16000, Rows=3000
    )
    made.ImagerPixelSpacing = ["0.07", "0.07"]
    scan = bright_model("fit", (512, 512)).predict(content(made))
    assert scan.mask.shape == (3000, 2400)
    assert 2 * (scan.mask & lesion).sum() / (scan.mask.sum() + lesion.sum()) > 0.97
    assert scan.spacing_from == "imager pixel spacing"
    assert scan.lesions[0].long_axis_mm == pytest.approx(28, rel=0.02)


def _clip(count: int, size: tuple[int, int] = (64, 80)) -> NDArray[np.uint8]:
    return np.stack([np.where(draw_ellipse(size, (30, 40), (5 + step, 10 + step)), 230, 20) for step in range(count)]).astype(
        np.uint8
    )


def test_a_clip_is_a_stream_of_its_frames(bright: Model, tmp_path: Path) -> None:
    made = dicom(_clip(7), region((0, 0, 64, 80), (0.02, 0.02)), clip=True)
    path = save(made, tmp_path / "clip.dcm")
    for source in (path, path.read_bytes(), made):
        found = list(bright.predict(source))
        assert [scan.frame for scan in found] == [1, 2, 3, 4, 5, 6, 7]
    found = list(bright.predict(path, frames=3))
    assert [scan.source for scan in found] == [f"{path}#1", f"{path}#4", f"{path}#7"]
    np.testing.assert_array_equal(found[1].mask, _clip(7)[3] > 100)
    summary = bcdseg.summarize_clip(bright.predict(path))
    assert (summary.source, summary.frames, summary.unread, summary.outlined_share) == (str(path), tuple(range(1, 8)), 0, 1.0)
    assert (summary.label, summary.largest_frame) == ("benign", 7)
    assert summary.long_axis_mm == pytest.approx(2 * 16 * 0.2, abs=0.1)
    assert summary.median_long_axis_mm == pytest.approx(2 * 13 * 0.2, abs=0.1)
    assert "frame 7" in str(summary)
    cut_off = bcdseg.Failure(f"{path}#8", errors.ImageError("damaged"))
    assert "1 frame, 1 more not read" in str(bcdseg.summarize_clip([found[0], cut_off]))
    assert json.dumps(summary.to_dict())
    with pytest.raises(errors.OptionError, match="'all', or n"):
        bright.predict(path, frames=0)
    with pytest.raises(errors.OptionError, match="another clip"):
        bcdseg.summarize_clip([*bright.predict(path), *bright.predict(made)])


def test_only_the_masks_of_a_clip_are_kept(bright: Model) -> None:
    scan = bright.predict(dicom(_screen(draw_ellipse((320, 400), (150, 210), (20, 40)))))
    kept = without_maps(scan)
    assert (
        sum(np.asarray(value).size for value in vars(kept).values() if isinstance(value, np.ndarray) and value.strides != (0, 0))
        == scan.mask.size
    )
    assert (kept.size, kept.lesions) == (scan.size, scan.lesions)


def test_the_clip_that_pydicom_ships(small_model: Model) -> None:
    path = str(get_testdata_file("examples_ybr_color.dcm", download=False))
    found = list(small_model.predict(path, frames=10))
    assert [(scan.frame, scan.size) for scan in found] == [(1, (240, 320)), (11, (240, 320)), (21, (240, 320))]
    assert all(scan.spacing is None for scan in found)  # its regions are of a frame twice as large
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.pixels.pixel_array(path, index=10)
    assert np.abs(found[1].image.astype(int) - expected).max() <= 3


def test_a_long_clip_is_never_in_memory_as_a_whole(small_model: Model, tmp_path: Path) -> None:
    clip = np.zeros((3000, 128, 128), np.uint8)
    path = save(dicom(clip, clip=True), tmp_path / "long.dcm")
    stream = small_model.predict(path, frames=600)
    tracemalloc.start()
    assert [scan.frame for scan in stream] == [1, 601, 1201, 1801, 2401]
    assert tracemalloc.get_traced_memory()[1] < clip.nbytes / 4
    tracemalloc.stop()


def test_a_folder_of_dicom_gives_scans_and_frames_and_leaves_reports_out(bright: Model, tmp_path: Path) -> None:
    save(dicom(draw_scan(0)), tmp_path / "IM_0001")
    save(dicom(_clip(3), clip=True), tmp_path / "IM_0002")
    Image.fromarray(draw_scan(1)).save(tmp_path / "a.png")
    shutil.copy(str(get_testdata_file("reportsi.dcm", download=False)), tmp_path / "report")
    shutil.copy(str(get_testdata_file("liver_1frame.dcm", download=False)), tmp_path / "seg.dcm")
    (tmp_path / "notes").write_text("no scan")
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "cut.dcm").write_bytes(content(dicom(draw_scan(0)))[:-100])
    results = list(bright.predict(tmp_path, on_error="keep"))
    assert [Path(result.source).name for result in results] == [
        "a.png", "cut.dcm", "empty.dcm", "IM_0001", "IM_0002#1", "IM_0002#2", "IM_0002#3",
    ]  # fmt: skip
    assert [isinstance(result, Failure) for result in results] == [False, True, True, False, False, False, False]


def test_a_medium_with_a_table_of_contents(bright: Model, tmp_path: Path) -> None:
    medium = FileSet()
    for seed in range(2):
        medium.add(dicom(draw_scan(seed)))
    medium.write(tmp_path / "disc")
    medium._stage["t"].cleanup()  # pydicom leaves its working folder to the garbage collector, which warns in some later test
    found = list(bright.predict(tmp_path / "disc" / "DICOMDIR"))
    assert [scan.size for scan in found] == [(120, 160)] * 2
    assert len(list(bright.predict(tmp_path / "disc"))) == 2
    contents = (tmp_path / "disc" / "DICOMDIR").read_bytes()
    (tmp_path / "disc" / "DICOMDIR").write_bytes(contents.replace(b"PT000000", b"..      "))
    with pytest.raises(errors.ImageError, match="outside of its own folder"):
        list(bright.predict(tmp_path / "disc" / "DICOMDIR"))


def test_nothing_of_the_patients_in_any_output(bright: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = dicom(_screen(draw_ellipse((320, 400), (150, 210), (20, 40))), region(BOX))
    uids = [str(made[keyword].value) for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")]
    path = save(made, tmp_path / "scan.dcm")
    scan = bright.predict(path)
    assert isinstance(scan, Prediction)
    scan.save(tmp_path / "out")
    scan.save_dicom_seg(tmp_path / "out" / "seg.dcm")
    scan.save_dicom_sr(tmp_path / "out" / "sr.dcm")
    texts = [repr(scan), scan._repr_html_(), json.dumps(scan.to_dict()), caplog.text]
    for damage in (
        content(made)[:-500],
        content(made).replace(b"MONOCHROME2", b"MONOCHROME9"),
        content(made).replace(b"US\x02\x00\x40\x01", b"US\x02\x00\x00\x00"),
    ):
        with pytest.raises(errors.ImageError) as caught:
            bright.predict(damage)
        texts.append(str(caught.value))
    written = b"".join(file.read_bytes() for file in (tmp_path / "out").iterdir())
    for secret in (*IDENTIFIERS, *uids):
        assert secret.encode() not in written
        assert not [text for text in texts if secret in text]


def test_the_command_line_writes_everything_of_a_clip(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32).save(tmp_path / "model")
    save(dicom(_clip(4), region((0, 0, 64, 80), (0.02, 0.02)), clip=True), tmp_path / "in" / "clip.dcm")
    save(dicom(_clip(1)[0]), tmp_path / "in" / "still")
    Image.fromarray(draw_scan(1)).save(tmp_path / "in" / "a.png")
    out = tmp_path / "out"
    arguments = [
        "predict",
        tmp_path / "in",
        "--model",
        model,
        "--out",
        out,
        "--frames",
        2,
        "--dicom-seg",
        "--dicom-sr",
        "--no-overlay",
    ]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == {
        ".progress.jsonl", "predictions.csv", "predictions.json", "clips.json", "a_mask.png", "still_mask.png",
        "clip_frame1_mask.png", "clip_frame3_mask.png", "clip_seg.dcm", "clip_sr.dcm", "still_seg.dcm", "still_sr.dcm",
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO((out / "predictions.csv").read_text())))
    assert [Path(row["source"]).name for row in rows] == ["a.png", "clip.dcm#1", "clip.dcm#3", "still"]
    assert [row["spacing_from"] for row in rows] == ["", "ultrasound region", "ultrasound region", ""]
    assert json.loads((out / "clips.json").read_text())[0]["frames"] == [1, 3]
    assert "2 frames" in done.stdout
    again = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(again.exception, errors.OutputExistsError)
    for wrong, reason in ((["--dicom-seg"], "--out"), (["--dicom-sr", "--out", str(tmp_path / "new")], "none of these is DICOM")):
        refused = CliRunner().invoke(app, ["predict", str(tmp_path / "in" / "a.png"), "--model", str(model), *wrong])
        assert isinstance(refused.exception, errors.OptionError)
        assert reason in str(refused.exception)


def test_a_clip_that_is_too_long_for_one_file_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32).save(tmp_path / "model")
    save(dicom(_clip(3), clip=True), tmp_path / "in" / "a.dcm")
    save(dicom(_clip(1)[0]), tmp_path / "in" / "b.dcm")
    monkeypatch.setattr("bcdseg.inference.dicom_output.MOST_BYTES", 2 * _clip(1)[0].size)
    arguments = ["predict", str(tmp_path / "in"), "--model", str(model), "--out", str(tmp_path / "out"), "--dicom-seg"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "a_seg.dcm: 3 frames are too many for one file" in done.stderr
    assert {"b_seg.dcm", "clips.json", "predictions.csv"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_header_that_cannot_be_referred_to_stops_no_run(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32).save(tmp_path / "model")
    bare = dicom(draw_scan(0))
    del bare.StudyInstanceUID
    save(bare, tmp_path / "in" / "a.dcm")
    save(dicom(draw_scan(1)), tmp_path / "in" / "b.dcm")
    arguments = ["predict", str(tmp_path / "in"), "--model", str(model), "--out", str(tmp_path / "out"), "--dicom-sr"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "a.dcm: lacks UIDs" in done.stderr
    assert {"a_mask.png", "b_mask.png", "b_sr.dcm", "predictions.csv"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("option", [["--identity", "pacs"], ["--keep-identifiers"], ["--identity", "shared"], []])
def test_one_option_decides_for_all_files_of_a_run(option: list[str], tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32).save(tmp_path / "model")
    source = dicom(draw_scan(0))
    path = save(source, tmp_path / "in" / "a.dcm")
    arguments = ["predict", str(path), "--model", str(model), "--out", str(tmp_path / "out"), "--dicom-sr", "--dicom-seg"]
    done = CliRunner().invoke(app, [*arguments, *option])
    assert done.exit_code == 0, done.output
    assert ("deprecated" in done.stderr) == ("--keep-identifiers" in option)
    for kind in ("seg", "sr"):
        made = pydicom.dcmread(tmp_path / "out" / f"a_{kind}.dcm")
        kept = (made.PatientID, made.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
        assert kept == (option in (["--identity", "pacs"], ["--keep-identifiers"]))


def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lesion = draw_ellipse((320, 400), (150, 210), (20, 40))
    save(dicom(_screen(lesion), region(BOX, (0.02, 0.02))), tmp_path / "scan.dcm")
    save(dicom(_clip(4), clip=True), tmp_path / "clip.dcm")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "dicom.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "dicom.md", "exec"), names)
    assert {path.name for path in tmp_path.glob("*.dcm")} == {
        "scan.dcm", "clip.dcm", "outline.dcm", "probability.dcm", "lesions.dcm", "report.dcm", "clip_outlines.dcm",
        "for_the_pacs.dcm", "report_for_the_pacs.dcm",
    }  # fmt: skip
