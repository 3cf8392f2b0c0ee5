"""Data sets of DICOM files: training uses the scan area as prediction does, without the text around it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from bright import bright_model
from made import save as save_picture
from made_dicom import dicom, region, save
from made_twins import scan, scan_and_lesion
from PIL import Image

import bcdseg
from bcdseg.errors import DatasetError
from bcdseg.evaluation.external_predictions import ExternalPrediction
from bcdseg.training.data.transforms import preparation

BOX = (40, 60, 296, 316)  # position of the scan in a frame
FRAME = (320, 400)
WRITTEN = 255


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))


def framed(picture: np.ndarray, *, written: int = WRITTEN) -> np.ndarray:
    """Return a machine's screen: the scan at its position, with something bright next to it."""
    frame = np.zeros(FRAME, picture.dtype)
    frame[4:30, 10:300] = written
    frame[BOX[0] : BOX[2], BOX[1] : BOX[3]] = picture
    return frame


def export(folder: Path, *, count: int = 3, masks: bool = True) -> Path:
    """Write a hospital's files: ``images/benign/1.dcm`` and outlines of whole frames, ``masks/benign/1.png``."""
    for seed in range(count):
        for label in ("benign", "malignant"):
            picture, lesion = scan_and_lesion(seed + 10 * (label == "benign"))
            save(dicom(framed(picture), region(BOX, (0.02, 0.01))), folder / "images" / label / f"{seed}.dcm")
            if masks:
                save_picture(folder / "masks" / label / f"{seed}.png", framed(lesion, written=0))
    return folder


def test_dicom_is_paired_with_its_masks_and_labels(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(export(tmp_path))
    assert data.layout == bcdseg.open_dataset(tmp_path, "image_mask").layout
    assert data.classes == ("benign", "malignant")
    assert len(data) == sum(bool(sample.masks) for sample in data) == 6
    assert len(bcdseg.open_dataset(tmp_path / "images")) == 6  # folders of classes
    data.check()


def test_a_table_may_name_files_without_a_suffix(tmp_path: Path) -> None:
    save(dicom(framed(scan(1)), region(BOX)), tmp_path / "IM0001")
    (tmp_path / "scans.csv").write_text("image,label,patient\nIM0001,benign,17\n")
    (only,) = data = bcdseg.open_dataset(tmp_path / "scans.csv")
    assert only.group == "17"
    assert (data.read(only)[0] == scan(1)).all()


def test_training_reads_of_dicom_what_it_reads_of_the_scan_alone(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(export(tmp_path / "dicom"))
    for sample in data:
        pixels, lesion = scan_and_lesion(int(sample.image.stem) + 10 * (sample.label == "benign"))
        name = f"{sample.label}/{sample.image.stem}.png"
        save_picture(tmp_path / "cut" / "images" / name, pixels)
        save_picture(tmp_path / "cut" / "masks" / name, lesion)
    cut = bcdseg.open_dataset(tmp_path / "cut")
    preprocessing = bcdseg.Preprocessing(size=(96, 96))
    for one, other in zip(data, cut, strict=True):
        of_dicom, of_cut = (preparation(set_, preprocessing)({"sample": each}) for set_, each in ((data, one), (cut, other)))
        assert (of_dicom["image"] == of_cut["image"]).all()
        assert (of_dicom["mask"] == of_cut["mask"]).all()
        assert of_cut["mask"].any()


def test_of_two_areas_the_one_with_the_lesion_is_learned_from(tmp_path: Path) -> None:
    frame = np.zeros((120, 300), np.uint8)
    left, right = (10, 10, 110, 150), (10, 160, 110, 290)  # the left one is larger
    frame[10:110, 10:150], frame[10:110, 160:290] = 90, 120
    mask = np.zeros(frame.shape, bool)
    mask[40:60, 200:230] = True
    save(dicom(frame, region(left), region(right)), tmp_path / "images" / "1.dcm")
    save(dicom(frame, region(left), region(right)), tmp_path / "images" / "2.dcm")
    save_picture(tmp_path / "masks" / "1.png", mask)
    save_picture(tmp_path / "masks" / "2.png", np.zeros_like(mask))
    data = bcdseg.open_dataset(tmp_path)
    pixels, lesion = data.read("images/1.dcm")
    assert lesion is not None
    assert (pixels == 120).all()
    assert pixels.shape == lesion.shape == (100, 130)
    assert lesion.sum() == mask.sum()
    assert (data.read("images/2.dcm")[0] == 90).all()


def test_outlines_are_measured_in_the_frame_and_in_millimetres(tmp_path: Path) -> None:
    frame = np.zeros(FRAME, np.uint8)
    frame[4:30, 10:300] = WRITTEN
    frame[100:140, 200:260] = 200
    save(dicom(frame, region(BOX, (0.02, 0.02))), tmp_path / "images" / "1.dcm")
    truth = np.zeros(FRAME, bool)
    truth[100:140, 200:270] = True  # ten pixels more, of 0.2 mm
    save_picture(tmp_path / "masks" / "1.png", truth)
    (tmp_path / "scans.csv").write_text("image,mask,label\nimages/1.dcm,masks/1.png,benign\n")
    data = bcdseg.open_dataset(tmp_path / "scans.csv")
    model = bright_model()
    found = bcdseg.evaluate(model, data, draws=10)
    given = bcdseg.evaluate_predictions(
        {"images/1.dcm": ExternalPrediction(model.predict(data[0].image).mask, None)}, data, draws=10
    )
    for cases in (found.cases, given.cases):
        assert tuple(cases.size[0]) == FRAME
        assert cases.outline["dice"][0] == pytest.approx(2 * 60 / (60 + 70))
        assert cases.outline["hd95_mm"][0] == pytest.approx(2.0)


def test_an_audit_neither_compares_nor_shows_what_is_written_around_scans(tmp_path: Path) -> None:
    for number, (seed, written) in enumerate([(1, 255), (1, 120), (2, 255), (3, 255)]):
        save(dicom(framed(scan(seed), written=written), region(BOX)), tmp_path / ("ab"[number % 2]) / f"{number}.dcm")
    audit = bcdseg.audit(bcdseg.open_dataset(tmp_path))
    assert audit.duplicate_groups == (("a/0.dcm", "b/1.dcm"),)
    audit.save(tmp_path / "page")
    shown = re.findall(r'data:image/jpeg;base64,([^"]+)"', (tmp_path / "page" / "index.html").read_text())
    assert shown
    for picture in shown:
        pixels = np.array(Image.open(io.BytesIO(base64.b64decode(picture))).convert("L"))
        above = pixels[: int(len(pixels) * 0.9 * BOX[0] / FRAME[0])]
        assert above.max() < 32  # but for what JPEG adds


def test_clips_and_files_without_an_outline_are_named(tmp_path: Path) -> None:
    export(tmp_path, count=1)
    clip = np.stack([framed(scan(5))] * 3)
    save(dicom(clip, region(BOX), clip=True), tmp_path / "images" / "benign" / "0.dcm")
    outline = dicom(framed(scan(6)), Modality="SEG")
    (tmp_path / "masks" / "malignant" / "0.png").unlink()
    save(outline, tmp_path / "masks" / "malignant" / "0.dcm")
    with pytest.raises(DatasetError) as failed:
        bcdseg.open_dataset(tmp_path).check()
    problems = "\n".join(failed.value.problems)
    assert len(failed.value.problems) == 2
    assert re.search(r"benign.0\.dcm: is a clip of 3 frames.*each frame is a file of its own", problems)
    assert re.search(r"malignant.0\.dcm: is DICOM without an image, and no segmentation.*as a PNG", problems)


def test_headers_give_facts_about_the_machine_and_nothing_about_the_patient(tmp_path: Path) -> None:
    header = {"ManufacturerModelName": "Aplio 300", "TransducerData": ["PLT-1005BT", "", ""], "ImageLaterality": "L"}
    save(dicom(framed(scan(0)), region(BOX, (0.02, 0.01)), **header), tmp_path / "benign" / "0.dcm")
    save(dicom(framed(scan(1)), region(BOX, (0.02, 0.01))), tmp_path / "malignant" / "0.dcm")
    first, second = bcdseg.open_dataset(tmp_path)
    machine = {"manufacturer": "made", "model": "Aplio 300", "device": "made Aplio 300", "transducer": "PLT-1005BT", "side": "left"}
    assert first.facts == machine
    assert second.facts == {"manufacturer": "made", "device": "made"}
    (tmp_path / "scans.csv").write_text("image,device\nbenign/0.dcm,Aplio\n")
    assert bcdseg.open_dataset(tmp_path / "scans.csv")[0].facts == {**machine, "device": "Aplio"}


def test_a_black_mask_in_dicom_is_an_empty_mask(tmp_path: Path) -> None:
    save(dicom(framed(scan(0))), tmp_path / "images" / "0.dcm")
    save(dicom(np.zeros(FRAME, np.uint8)), tmp_path / "masks" / "0.dcm")
    (only,) = data = bcdseg.open_dataset(tmp_path)
    mask = data.read(only)[1]
    assert mask is not None
    assert not mask.any()
