"""DICOM segmentations as masks: files of highdicom are read pixel for pixel, others are refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from bright import bright_model
from made_dicom import IDENTIFIERS, dicom, region, save
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

import bcdseg
from bcdseg import Prediction, errors
from bcdseg.data.masks import read_mask

SIZE = (61, 75)  # the number of pixels is not a multiple of 8


def two_masses() -> NDArray[np.bool_]:
    """Return two masks as height x width x 2."""
    drawn = np.zeros((*SIZE, 2), bool)
    drawn[10:30, 12:40, 0] = drawn[40:55, 50:70, 1] = True
    return drawn


def segmentation(
    sources: Sequence[Any], drawn: NDArray[Any], kind: str = "BINARY", types: Sequence[str] = ("Mass",), syntax: Any = None
) -> Any:
    """Return a segmentation as an annotation tool would write it."""
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"{name} of Secret",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=getattr(codes.SCT, name),
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(types, 1)
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="highdicom|pydicom")
        return highdicom.seg.Segmentation(
            list(sources),
            drawn,
            kind,
            described,
            highdicom.UID(),
            1,
            highdicom.UID(),
            1,
            "made",
            "made",
            "1",
            "1",
            transfer_syntax_uid=syntax or ExplicitVRLittleEndian,
            max_fractional_value=200,
            omit_empty_frames=False,
        )


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [("BINARY", None), ("FRACTIONAL", None), ("FRACTIONAL", RLELossless), ("LABELMAP", None), ("LABELMAP", RLELossless)],
)
def test_all_segments_of_one_image_are_its_lesion(tmp_path: Path, kind: str, syntax: Any) -> None:
    drawn = two_masses()
    seen = np.where(drawn, 0.55, 0.45).astype(np.float32) if kind == "FRACTIONAL" else drawn.astype(np.uint8)
    made = segmentation([dicom(np.zeros(SIZE, np.uint8))], seen[None], kind, ("Mass", "Mass"), syntax)
    np.testing.assert_array_equal(read_mask([save(made, tmp_path / "seg.dcm")], SIZE), drawn.any(axis=2))


@pytest.mark.parametrize("kind", ["binary", "probability", "lesions"])
def test_what_prediction_writes_is_a_mask_to_learn_from(tmp_path: Path, kind: str) -> None:
    frame = np.where(two_masses().any(axis=2), 230, 20).astype(np.uint8)
    path = save(dicom(frame, region((5, 8, 60, 74))), tmp_path / "images" / "1.dcm")
    found = bright_model().predict(path)
    assert isinstance(found, Prediction)
    assert found.mask is not None
    (tmp_path / "masks").mkdir()
    found.save_dicom_seg(tmp_path / "masks" / "1_seg.dcm", kind=kind)
    data = bcdseg.open_dataset(tmp_path)
    data.check()
    pixels, mask = data.read("images/1.dcm")
    np.testing.assert_array_equal(pixels, frame[5:60, 8:74])
    np.testing.assert_array_equal(mask, found.mask[5:60, 8:74])


def _turned() -> Any:
    source = dicom(np.zeros(SIZE, np.uint8), ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, -1, 0])
    source.FrameOfReferenceUID, source.PixelSpacing, source.SliceThickness = highdicom.UID(), [0.1, 0.1], 0.1
    return segmentation([source], two_masses()[..., :1][None])


def _of_two_images() -> Any:
    study, series, frame = highdicom.UID(), highdicom.UID(), highdicom.UID()
    sources = [
        dicom(
            np.zeros(SIZE, np.uint8),
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            FrameOfReferenceUID=frame,
            ImagePositionPatient=[0, 0, place],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.1, 0.1],
            SliceThickness=1,
        )
        for place in (0, 1)
    ]
    return segmentation(sources, np.moveaxis(two_masses(), 2, 0))


def _many_frames() -> Any:
    made = segmentation([dicom(np.zeros(SIZE, np.uint8))], two_masses()[None], "BINARY", ("Mass", "Mass"))
    made.NumberOfFrames = 2_000_000
    return made


def _cut_off() -> Any:
    made = segmentation([dicom(np.zeros(SIZE, np.uint8))], two_masses()[None], "BINARY", ("Mass", "Mass"))
    made.PixelData = made.PixelData[:100]
    return made


REFUSED = {
    "of 2 kinds of tissue": lambda: segmentation([dicom(np.zeros(SIZE, np.uint8))], two_masses()[None], "BINARY", ("Mass", "Cyst")),
    "turned or mirrored": _turned,
    "several images or frames": _of_two_images,
    "more than one image's outlines need": _many_frames,
    "truncated or damaged": _cut_off,
    "no segmentation": lambda: dicom(np.zeros(SIZE, np.uint8), Modality="SEG"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_other_objects_than_an_outline_of_one_image_are_refused(tmp_path: Path, wrong: str) -> None:
    path = save(REFUSED[wrong](), tmp_path / "seg.dcm")
    with pytest.raises(errors.ImageError, match=wrong.removeprefix("of ")) as failed:
        read_mask([path], SIZE)
    assert str(path) in str(failed.value)
    assert not [one for one in IDENTIFIERS if one in str(failed.value)]


def test_an_outline_of_another_size_is_reported_with_both_sizes(tmp_path: Path) -> None:
    path = save(segmentation([dicom(np.zeros(SIZE, np.uint8))], two_masses()[..., :1][None]), tmp_path / "seg.dcm")
    with pytest.raises(errors.ImageError, match="the mask is 61x75 pixels, its image 64x64"):
        read_mask([path], (64, 64))
