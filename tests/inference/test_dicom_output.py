"""Segmentations and reports: other readers load every pixel and number unchanged, and a checker finds no error."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from bright import bright_model
from drawn import draw_ellipse, draw_scan
from made_dicom import IDENTIFIERS, NAME, PATIENT_ID, content, dicom, region, save
from numpy.typing import NDArray

import bcdseg
from bcdseg import Model, Prediction, errors
from bcdseg.data.masks import read_mask
from bcdseg.dicom.deidentify import new_uid
from bcdseg.inference.clips import without_maps

SIZE, BOX = (150, 203), (10, 20, 140, 190)  # the number of pixels is not a multiple of 8


@pytest.fixture(scope="module")
def bright() -> Model:
    return bright_model()


@pytest.fixture(autouse=True)
def _readers_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="highdicom|pydicom")  # of what a de-identified file leaves empty
        yield


def _pixels(step: int = 0) -> NDArray[np.uint8]:
    return np.where(draw_ellipse(SIZE, (70, 90), (20 + step, 40 + step), 25), 230, 20).astype(np.uint8)


@pytest.fixture
def scan(bright: Model, tmp_path: Path) -> Prediction:
    found = bright.predict(save(dicom(_pixels(), region(BOX, (0.02, 0.03))), tmp_path / "scan.dcm"))
    assert isinstance(found, Prediction)
    return found


@pytest.fixture
def clip(bright: Model, tmp_path: Path) -> list[Prediction]:
    frames = np.stack([_pixels(step) for step in range(6)])
    return list(bright.predict(save(dicom(frames, region(BOX, (0.02, 0.02)), clip=True), tmp_path / "clip.dcm"), frames=2))


def _whole_bytes(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels of whole bytes: GDCM, which SimpleITK uses, leaves packed pixels of an incomplete byte unset."""
    return pixels.ravel()[: pixels.size // 8 * 8]


def _check(path: Path) -> None:
    """Run the independent checker of Debian's dicom3tools, where it is installed."""
    if checker := shutil.which("dciodvfy"):
        done = subprocess.run([checker, "-new", str(path)], capture_output=True, text=True, check=False)
        assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")], done.stderr
        assert done.returncode == 0


def test_an_outline_is_found_again_pixel_for_pixel(scan: Prediction, tmp_path: Path) -> None:
    path = scan.save_dicom_seg(tmp_path / "seg.dcm", identity="pacs")
    _check(path)
    made, source = highdicom.seg.segread(path), pydicom.dcmread(scan.source)
    assert made.get_source_image_uids() == [(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)]
    found = made.get_pixels_by_source_instance([source.SOPInstanceUID], ignore_spatial_locations=True)
    np.testing.assert_array_equal(found[0, ..., 0], scan.mask)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(_whole_bytes(SimpleITK.GetArrayFromImage(image) > 0), _whole_bytes(scan.mask))
    assert image.GetSpacing()[:2] == pytest.approx((0.3, 0.2))
    (segment,) = made.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Mass"
    assert segment.SegmentAlgorithmName == "bcdseg bright"
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == bcdseg.__version__
    assert (made.PatientName, made.PatientID) == (NAME, PATIENT_ID)


def test_each_lesion_is_a_segment(bright: Model, clip: list[Prediction], tmp_path: Path) -> None:
    pixels = np.maximum(_pixels(), np.where(draw_ellipse(SIZE, (120, 160), (20, 20), 25), 230, 20).astype(np.uint8))
    two = bright.predict(save(dicom(pixels, region(BOX, (0.02, 0.03))), tmp_path / "two.dcm"))
    assert isinstance(two, Prediction)
    path = two.save_dicom_seg(tmp_path / "seg.dcm", kind="lesions", identity="pacs")
    _check(path)
    made = highdicom.seg.segread(path)
    assert [segment.SegmentLabel for segment in made.SegmentSequence] == ["lesion 1", "lesion 2"]
    found = made.get_pixels_by_source_instance([pydicom.dcmread(two.source).SOPInstanceUID], ignore_spatial_locations=True)[0]
    assert [int(found[..., at].sum()) for at in range(2)] == [lesion.area_px for lesion in two.lesions]
    np.testing.assert_array_equal(found.any(axis=-1), two.mask)
    with pytest.raises(errors.OptionError, match="for one image"):
        bcdseg.save_dicom_seg(clip, tmp_path / "clip_seg.dcm", kind="lesions")


def test_the_probability_is_found_again(scan: Prediction, tmp_path: Path) -> None:
    path = bcdseg.save_dicom_seg(scan, tmp_path / "seg.dcm", kind="probability")
    _check(path)
    found = highdicom.seg.segread(path)
    assert (found.SegmentationType, found.SegmentationFractionalType, found.MaximumFractionalValue) == (
        "FRACTIONAL",
        "PROBABILITY",
        255,
    )
    assert scan.mask_probability is not None
    np.testing.assert_allclose(found.pixel_array / 255, scan.mask_probability, atol=0.5 / 255 + 1e-6)


def test_frames_of_a_clip_refer_to_their_own(clip: list[Prediction], tmp_path: Path) -> None:
    for kind in ("binary", "probability"):
        path = bcdseg.save_dicom_seg(clip, tmp_path / f"{kind}.dcm", kind=kind)
        _check(path)
        made = highdicom.seg.segread(path)
        uid = new_uid(pydicom.dcmread(tmp_path / "clip.dcm").SOPInstanceUID)
        found = made.get_pixels_by_source_frame(uid, [1, 3, 5], ignore_spatial_locations=True)[..., 0]
        stack = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        expected = np.stack([one.mask if kind == "binary" else one.mask_probability for one in clip])  # type: ignore[misc]
        np.testing.assert_allclose(found, expected, atol=0.5 / 255 + 1e-6)
        np.testing.assert_allclose(_whole_bytes(stack) / 255, _whole_bytes(expected), atol=0.5 / 255 + 1e-6)


def _cautious() -> Model:
    """Return a model whose presence threshold no scan reaches."""
    return bright_model(rules=bcdseg.Rules(presence_threshold=0.99))


def test_a_candidate_is_a_segment_of_its_own(tmp_path: Path) -> None:
    one = _cautious().predict(save(dicom(_pixels(), region(BOX, (0.02, 0.03))), tmp_path / "scan.dcm"))
    assert isinstance(one, Prediction)
    (warning,) = [flag.message for flag in one.flags if flag.code == "candidate"]
    named = {
        "binary": ["lesion", "candidate, below the presence threshold"],
        "lesions": ["candidate 1, below the presence threshold"],
    }
    for kind, labels in named.items():
        path = one.save_dicom_seg(tmp_path / f"{kind}.dcm", kind=kind, identity="pacs")
        _check(path)
        made = highdicom.seg.segread(path)
        assert [segment.SegmentLabel for segment in made.SegmentSequence] == labels
        assert made.SegmentSequence[-1].SegmentDescription == warning
        found = made.get_pixels_by_source_instance([pydicom.dcmread(one.source).SOPInstanceUID], ignore_spatial_locations=True)[0]
        np.testing.assert_array_equal(found[..., -1], one.candidate_mask)
        assert not found[..., :-1].any()
        assert not read_mask([path], SIZE, resize=False).any(), "a candidate is not a lesion of a data set"


def test_the_probability_of_a_candidate_is_not_labelled_as_a_lesion(tmp_path: Path) -> None:
    one = _cautious().predict(save(dicom(_pixels(), region(BOX, (0.02, 0.03))), tmp_path / "scan.dcm"))
    assert isinstance(one, Prediction)
    path = one.save_dicom_seg(tmp_path / "seg.dcm", kind="probability")
    _check(path)
    (segment,) = highdicom.seg.segread(path).SegmentSequence
    (warning,) = [flag.message for flag in one.flags if flag.code == "candidate"]
    assert (segment.SegmentLabel, segment.SegmentDescription) == ("candidate, below the presence threshold", warning)


def test_candidates_are_kept_without_the_other_maps(tmp_path: Path) -> None:
    one = _cautious().predict(save(dicom(_pixels(), region(BOX, (0.02, 0.03))), tmp_path / "scan.dcm"))
    assert isinstance(one, Prediction)
    path = without_maps(one).save_dicom_seg(tmp_path / "seg.dcm")
    labels = [segment.SegmentLabel for segment in highdicom.seg.segread(path).SegmentSequence]
    assert labels == ["lesion", "candidate, below the presence threshold"]


def test_candidates_of_a_clip_refer_to_their_own_frames(clip: list[Prediction], tmp_path: Path) -> None:
    mixed = [*clip[:1], *list(_cautious().predict(tmp_path / "clip.dcm", frames=2))[1:]]
    path = bcdseg.save_dicom_seg(mixed, tmp_path / "seg.dcm")
    _check(path)
    made, uid = highdicom.seg.segread(path), new_uid(pydicom.dcmread(tmp_path / "clip.dcm").SOPInstanceUID)
    found = made.get_pixels_by_source_frame(uid, [1, 3, 5], ignore_spatial_locations=True)
    none = np.zeros(SIZE, bool)
    np.testing.assert_array_equal(found[..., 0], np.stack([one.mask for one in mixed]))  # type: ignore[misc]
    np.testing.assert_array_equal(found[..., 1], np.stack([none, mixed[1].candidate_mask, mixed[2].candidate_mask]))  # type: ignore[list-item]
    assert found[0, ..., 0].any()
    assert found[2, ..., 1].any()


def test_a_candidate_is_measured_and_marked_in_a_report(tmp_path: Path) -> None:
    one = _cautious().predict(save(dicom(_pixels(), region(BOX, (0.02, 0.03))), tmp_path / "scan.dcm"))
    path = one.save_dicom_sr(tmp_path / "sr.dcm")
    _check(path)
    report = highdicom.sr.srread(path)
    (group,) = report.content.get_planar_roi_measurement_groups()
    assert group.tracking_identifier == "candidate 1"
    stated_of = {one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()}
    assert stated_of["Status of the outline"] == "Candidate, below the presence threshold"
    values = {each.name.meaning: float(each.value) for each in group.get_measurements()}
    assert values["Long axis"] == pytest.approx(one.candidates[0].long_axis_mm, abs=1e-3)
    assert values["Mean probability of lesion"] == pytest.approx(one.candidates[0].probability, abs=1e-3)
    (whole,) = report.content.get_image_measurement_groups()
    stated = {each.name.meaning: float(each.value) for each in whole.get_measurements()}
    assert (stated["Number of outlined lesions"], stated["Number of candidates"]) == (0, 1)


def _check_nominal_scale(path: Path) -> None:
    made = highdicom.seg.segread(path)
    assert made.ContentDescription == "The scale is unknown: 1 mm per pixel is nominal"
    assert all(segment.SegmentLabel.endswith(", scale unknown") for segment in made.SegmentSequence), "viewers show this name"
    assert SimpleITK.ReadImage(str(path)).GetSpacing() == (1, 1, 1)
    assert made.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]


def test_a_clip_whose_lesion_moves_to_a_region_of_another_scale_has_a_nominal_one(bright: Model, tmp_path: Path) -> None:
    boxes = region((0, 0, 150, 100), (0.02, 0.02)), region((0, 100, 150, 200), (0.03, 0.03))
    frames = np.stack([np.roll(_pixels(), (0, shift), (0, 1)) for shift in (-40, 60)])
    found = list(bright.predict(save(dicom(frames, *boxes, clip=True), tmp_path / "clip.dcm")))
    assert [one.spacing for one in found] == [pytest.approx((0.2, 0.2)), pytest.approx((0.3, 0.3))]
    path = bcdseg.save_dicom_seg(found, tmp_path / "seg.dcm")
    _check(path)
    assert len(pydicom.dcmread(path).PerFrameFunctionalGroupsSequence) == 2
    _check_nominal_scale(path)


def _area(points: NDArray[Any]) -> float:
    rows, columns = points.T
    return float(abs(np.sum(rows[:-1] * columns[1:] - rows[1:] * columns[:-1]))) / 2


def test_a_report_states_axes_area_class_and_probabilities(scan: Prediction, tmp_path: Path) -> None:
    path = scan.save_dicom_sr(tmp_path / "sr.dcm", identity="pacs")
    _check(path)
    report = highdicom.sr.srread(path)
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (group,) = report.content.get_planar_roi_measurement_groups()
    values = {one.name.meaning: (float(one.value), one.unit.value) for one in group.get_measurements()}
    (lesion,) = scan.lesions
    assert values["Long axis"] == (pytest.approx(lesion.long_axis_mm, abs=1e-3), "mm")
    assert values["Short axis"] == (pytest.approx(lesion.short_axis_mm, abs=1e-3), "mm")
    assert values["Area"] == (pytest.approx(lesion.area_mm2, abs=1e-3), "mm2")
    points = np.asarray(group.roi.value)[:, ::-1] - 0.5
    np.testing.assert_allclose(points[[0, 24, 12, 36]], [*lesion.long_axis_ends, *lesion.short_axis_ends], atol=1e-3)
    assert group.roi.graphic_type.value == "POLYLINE"
    assert _area(points) * 0.3 * 0.2 == pytest.approx(np.pi / 4 * lesion.long_axis_mm * lesion.short_axis_mm, rel=0.01)
    (whole,) = report.content.get_image_measurement_groups()
    assert [one.value.meaning for one in whole.get_qualitative_evaluations()] == ["Benign"]
    stated = {one.name.meaning: float(one.value) for one in whole.get_measurements()}
    assert stated.pop("Number of outlined lesions") == 1
    ((point,),) = [one.referenced_coordinates for one in whole.get_measurements() if one.referenced_coordinates]
    assert (point.graphic_type.value, point.value.tolist()) == ("POINT", [[0.5, 0.5]]), "OHIF shows no group without coordinates"
    units = {one.unit.value for group in (whole, group) for one in group.get_measurements()}
    assert units == {"mm", "mm2", "{counts}", "{ratio}"}, "OHIF shows a 0 with the unit 1 as a 1"
    assert stated == {f"Probability of {name}": pytest.approx(value, abs=1e-4) for name, value in scan.probabilities.items()}
    source = pydicom.dcmread(scan.source)
    assert source.SOPInstanceUID in {uid for _, _, uid, _ in report.get_evidence()}


def test_a_report_of_a_clip_and_without_a_scale(clip: list[Prediction], bright: Model, tmp_path: Path) -> None:
    path = bcdseg.save_dicom_sr(clip, tmp_path / "sr.dcm")
    _check(path)
    groups = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [f"frame {frame}, lesion 1" for frame in (1, 3, 5)]
    bare = bright.predict(save(dicom(_pixels()), tmp_path / "bare.dcm"))
    path = bare.save_dicom_sr(tmp_path / "bare_sr.dcm")
    _check(path)
    (group,) = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert {one.unit.meaning for one in group.get_measurements()} == {"pixels", "ratio"}
    path = bare.save_dicom_seg(tmp_path / "bare_seg.dcm")
    _check(path)
    np.testing.assert_array_equal(highdicom.seg.segread(path).pixel_array > 0, bare.mask)
    _check_nominal_scale(path)


def test_empty_outlines_and_models_that_only_outline(tmp_path: Path) -> None:
    path = save(dicom(draw_scan(0)), tmp_path / "scan.dcm")
    outlines = bcdseg.create("plain_cnn", classes=[], head=None, size=32)
    empty = outlines.predict(path, threshold=0.999999)
    assert not empty.lesions
    for kind in ("lesions", "binary"):
        _check(empty.save_dicom_seg(tmp_path / "seg.dcm", kind=kind, overwrite=True))
    _check(empty.save_dicom_sr(tmp_path / "sr.dcm"))
    assert not highdicom.seg.segread(tmp_path / "seg.dcm").pixel_array.any()
    classified = bcdseg.create(
        "plain_cnn", classes=["cyst", "a name that is a good deal longer than sixteen"], decoder=None, size=32
    ).predict(path)
    _check(classified.save_dicom_sr(tmp_path / "sr2.dcm"))
    with pytest.raises(errors.OptionError, match="only classifies"):
        classified.save_dicom_seg(tmp_path / "seg2.dcm")


def test_the_identity_is_given_once_and_never_mixed(bright: Model, tmp_path: Path) -> None:
    path = save(dicom(_pixels(), region(BOX, (0.02, 0.03))), tmp_path / "scan.dcm")
    source, shared, kept = pydicom.dcmread(path), bright.predict(path), bright.predict(path, identity="pacs")
    for write, end in ((bcdseg.save_dicom_seg, "seg"), (bcdseg.save_dicom_sr, "sr")):
        made = pydicom.dcmread(write(kept, tmp_path / f"pacs_{end}.dcm"))
        assert (made.PatientID, made.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
        made = pydicom.dcmread(write(shared, tmp_path / f"shared_{end}.dcm"))
        assert made.PatientID != source.PatientID
        made = pydicom.dcmread(write(kept, tmp_path / f"again_{end}.dcm", identity="shared"))
        assert made.PatientID != source.PatientID
        with pytest.raises(errors.OptionError, match="identities"):
            write([shared, kept], tmp_path / "mixed.dcm")
        with pytest.raises(errors.OptionError, match=r"'pacs' .* or 'shared'"):
            write(kept, tmp_path / "unknown.dcm", identity="PACS")


def test_the_argument_of_earlier_versions_still_works(bright: Model, tmp_path: Path) -> None:
    path = save(dicom(_pixels(), region(BOX, (0.02, 0.03))), tmp_path / "scan.dcm")
    with pytest.warns(DeprecationWarning, match="identity='pacs'"):
        kept = bright.predict(path, keep_identifiers=True)
    assert kept.identity == "pacs"
    with pytest.warns(DeprecationWarning, match="identity='shared'"):
        made = pydicom.dcmread(kept.save_dicom_seg(tmp_path / "seg.dcm", keep_identifiers=False))
    assert made.PatientIdentityRemoved == "YES"
    with pytest.raises(errors.OptionError, match="give identity alone"):
        kept.save_dicom_sr(tmp_path / "sr.dcm", identity="pacs", keep_identifiers=True)


def test_identifiers_are_replaced_by_one_rule(scan: Prediction, tmp_path: Path) -> None:
    source = pydicom.dcmread(scan.source)
    seg, sr = scan.save_dicom_seg(tmp_path / "seg.dcm"), scan.save_dicom_sr(tmp_path / "sr.dcm")
    made = [pydicom.dcmread(path) for path in (seg, sr)]
    for path, one in zip((seg, sr), made, strict=True):
        assert not [secret for secret in (*IDENTIFIERS, source.StudyInstanceUID) if secret.encode() in path.read_bytes()]
        assert one.StudyInstanceUID == new_uid(source.StudyInstanceUID)
        assert (one.PatientIdentityRemoved, one.PatientBirthDate, one.StudyDate) == ("YES", "", "")
    assert made[0].PatientID == made[1].PatientID != ""
    assert made[0].ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == new_uid(
        source.SOPInstanceUID
    )


def test_sources_without_a_path_are_given(bright: Model, tmp_path: Path) -> None:
    made = dicom(_pixels(), region(BOX))
    found = bright.predict(content(made))
    with pytest.raises(errors.OptionError, match="source="):
        found.save_dicom_seg(tmp_path / "seg.dcm")
    for at, source in enumerate((content(made), made)):
        found.save_dicom_seg(tmp_path / f"{at}.dcm", source=source)
        found.save_dicom_sr(tmp_path / f"{at}_sr.dcm", source=source)
    with pytest.raises(errors.OptionError, match="give its own file"):
        found.save_dicom_seg(tmp_path / "seg.dcm", source=content(dicom(draw_scan(0))))


def test_a_source_with_fewer_frames_than_predictions_is_refused(clip: list[Prediction], tmp_path: Path) -> None:
    frames = np.stack([_pixels(step) for step in range(5)])
    for short, count in ((frames, "5 frames"), (frames[:4], "4 frames"), (frames[0], "1 frame")):
        source = dicom(short, region(BOX), clip=short.ndim == 3)
        for written, save_all in (("seg.dcm", bcdseg.save_dicom_seg), ("sr.dcm", bcdseg.save_dicom_sr)):
            if count == "5 frames":
                save_all(clip, tmp_path / written, source=source)
                continue
            with pytest.raises(errors.OptionError, match=f"has {count} and predictions are up to frame 5"):
                save_all(clip, tmp_path / "other.dcm", source=content(source))
    assert not (tmp_path / "other.dcm").exists()


def test_wrong_calls_are_reported(scan: Prediction, clip: list[Prediction], bright: Model, tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="binary, probability"):
        scan.save_dicom_seg(tmp_path / "seg.dcm", kind="labelmap")
    with pytest.raises(errors.OptionError, match="one image or of one clip"):
        bcdseg.save_dicom_seg([scan, *clip], tmp_path / "seg.dcm")
    scan.save_dicom_seg(tmp_path / "seg.dcm")
    with pytest.raises(errors.OutputExistsError):
        scan.save_dicom_seg(tmp_path / "seg.dcm")
    odd: dict[str, Any] = {"PatientSex": "SECRET"}
    path = save(dicom(_pixels(), **odd), tmp_path / "odd.dcm")
    found = bright.predict(path)
    found.save_dicom_seg(tmp_path / "odd_seg.dcm")
    with pytest.raises(errors.ImageError, match="correct the header") as caught:
        found.save_dicom_seg(tmp_path / "odd_seg2.dcm", identity="pacs")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 100", "Müller^Änne"),
        ("GB18030", "王^小东"),
        ("ISO_IR 6", "Miller^Anne"),
        ("ISO 2022 IR 100", "Müller^Änne"),
    ],
)
def test_names_in_any_character_set_are_kept_for_a_pacs(bright: Model, tmp_path: Path, characters: Any, name: str) -> None:
    path = save(dicom(_pixels(), SpecificCharacterSet=characters, PatientName=name), tmp_path / "scan.dcm")
    scan = bright.predict(path, identity="pacs")
    for written in (scan.save_dicom_seg(tmp_path / "seg.dcm"), scan.save_dicom_sr(tmp_path / "sr.dcm")):
        assert str(pydicom.dcmread(written).PatientName) == name


def test_several_predictions_for_one_frame_are_refused(scan: Prediction, clip: list[Prediction], tmp_path: Path) -> None:
    for save_all in (bcdseg.save_dicom_seg, bcdseg.save_dicom_sr):
        for repeated in ([scan, scan], [*clip, clip[0]]):
            with pytest.raises(errors.OptionError, match="several predictions for one image or frame"):
                save_all(repeated, tmp_path / "made.dcm")
    assert not (tmp_path / "made.dcm").exists()
