"""One report lists all DICOM results of a study, and reports and segmentations track the same lesions."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from bright import bright_model
from drawn import draw_ellipse
from made_dicom import IDENTIFIERS, dicom, region, save
from numpy.typing import NDArray
from pydicom.uid import generate_uid

import bcdseg
from bcdseg.dicom.deidentify import new_uid

SIZE, BOX = (150, 203), (10, 20, 140, 190)
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"

Run = Callable[..., Any]


def _pixels(*centres: tuple[int, int], radius: int = 20) -> NDArray[np.uint8]:
    lesions = [draw_ellipse(SIZE, centre, (radius, radius + 5), 0) for centre in centres]
    return np.where(np.any(lesions, axis=0), 230, 20).astype(np.uint8)


def _check(path: Path) -> None:
    if checker := shutil.which("dciodvfy"):
        done = subprocess.run([checker, "-new", str(path)], capture_output=True, text=True, check=False)
        assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def _listed(path: Path) -> list[dict[str, str]]:
    """Return for each group of a root the UIDs to which it refers, by the purpose of the reference."""
    groups = highdicom.sr.srread(path).content.get_image_measurement_groups()
    return [
        {
            item.name.meaning: item.referenced_sop_instance_uid
            for item in group[0].ContentSequence
            if "ReferencedSOPSequence" in item
        }
        for group in groups
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32).save(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two images and a clip of one study, an image of another, and a picture."""
    study, folder = generate_uid(), tmp_path / "in"
    for name in ("a", "b"):
        save(dicom(_pixels((70, 90)), region(BOX, (0.02, 0.03)), StudyInstanceUID=study), folder / f"{name}.dcm")
    save(dicom(np.stack([_pixels((70, 90))] * 2), clip=True, StudyInstanceUID=study), folder / "clip.dcm")
    save(dicom(_pixels((70, 90))), folder / "other.dcm")
    return folder


@pytest.mark.parametrize("identity", ["pacs", "shared"])
def test_the_command_writes_one_root_per_study(scans: Path, model: Path, identity: str, run_main: Run, tmp_path: Path) -> None:
    out, kinds = tmp_path / "out", ["--dicom-seg", "--dicom-sr", "--dicom-root"]
    done = run_main("predict", scans, "--model", model, "--out", out, *kinds, "--identity", identity, "--frames", "1")
    assert done.returncode == 0, done.stderr
    sources = {path.stem: pydicom.dcmread(path) for path in scans.iterdir()}
    uid = str if identity == "pacs" else new_uid
    roots = {pydicom.dcmread(path).StudyInstanceUID: path for path in out.glob("study_*_root.dcm")}
    assert set(roots) == {uid(one.StudyInstanceUID) for one in sources.values()}
    path = roots[uid(sources["a"].StudyInstanceUID)]
    _check(path)
    root = pydicom.dcmread(path)
    assert (root.SOPClassUID, root.ContentTemplateSequence[0].TemplateIdentifier) == (SR, "1500")
    assert root.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurement Report"
    assert (root.PatientID == sources["a"].PatientID) == (identity == "pacs")
    assert _listed(path) == [
        {
            "Source of Measurement": uid(sources[name].SOPInstanceUID),
            "Current procedure evidence": pydicom.dcmread(out / f"{name}_sr.dcm").SOPInstanceUID,
            "Referenced Segment": pydicom.dcmread(out / f"{name}_seg.dcm").SOPInstanceUID,
        }
        for name in ("a", "b", "clip")
    ]
    evidence = highdicom.sr.srread(path).get_evidence()
    assert {study for study, *_ in evidence} == {root.StudyInstanceUID}
    assert sorted(kind for *_, kind in evidence if kind in (SEG, SR)) == [SEG] * 3 + [SR] * 3
    if identity == "shared":
        assert not [secret for secret in IDENTIFIERS if secret.encode() in path.read_bytes()]


def test_a_root_lists_what_there_is(scans: Path, model: Path, run_main: Run, tmp_path: Path) -> None:
    (scans / "b.dcm").write_bytes((scans / "b.dcm").read_bytes()[:2000])
    out = tmp_path / "out"
    options = ["--model", model, "--out", out, "--dicom-sr", "--dicom-root", "--identity", "pacs"]
    assert run_main("predict", scans, *options).returncode == 1
    study = pydicom.dcmread(scans / "a.dcm").StudyInstanceUID
    first = out / f"study_{study}_root.dcm"
    assert [set(group) for group in _listed(first)] == [{"Source of Measurement", "Current procedure evidence"}] * 2
    save(dicom(_pixels((70, 90)), StudyInstanceUID=study), scans / "b.dcm")
    assert run_main("predict", scans, *options, "--resume").returncode == 0
    assert len(_listed(first)) == 3


def test_wrong_requests_for_a_root_are_refused(scans: Path, model: Path, run_main: Run, tmp_path: Path) -> None:
    arguments = ["predict", scans, "--model", model, "--out", tmp_path / "out", "--dicom-root"]
    assert "give one of them too" in run_main(*arguments).stderr
    assert "leave out one of them" in run_main(*arguments, "--dicom-sr", "--shard", "1/2").stderr


def _tracked(path: Path) -> dict[str, str]:
    """Return the tracking UIDs of the segments, or of the outlines of a report, by their identifiers."""
    made = pydicom.dcmread(path)
    if made.Modality == "SEG":
        return {one.TrackingID: one.TrackingUID for one in made.SegmentSequence}
    groups = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    return {one.tracking_identifier: str(one.tracking_uid) for one in groups}


def test_a_lesion_is_tracked_by_its_segment_and_its_report(tmp_path: Path) -> None:
    one = bright_model().predict(save(dicom(_pixels((70, 90)), region(BOX)), tmp_path / "one.dcm"))
    two = bright_model().predict(save(dicom(_pixels((40, 60), (100, 140)), region(BOX)), tmp_path / "two.dcm"))
    tracked = _tracked(one.save_dicom_sr(tmp_path / "one_sr.dcm"))
    assert list(tracked) == ["lesion 1"]
    assert _tracked(one.save_dicom_seg(tmp_path / "one_seg.dcm")) == tracked
    both = _tracked(two.save_dicom_sr(tmp_path / "two_sr.dcm"))
    assert list(both) == ["lesion 1", "lesion 2"]
    assert len({*both.values(), *tracked.values()}) == 3
    assert _tracked(two.save_dicom_seg(tmp_path / "lesions.dcm", kind="lesions")) == both
    joint = _tracked(two.save_dicom_seg(tmp_path / "binary.dcm"))
    assert list(joint) == ["lesion"]
    assert not set(joint.values()) & set(both.values()), "a segment of several lesions is not one of them"


def test_a_candidate_is_tracked_too(tmp_path: Path) -> None:
    cautious = bright_model(rules=bcdseg.Rules(presence_threshold=0.99))
    one = cautious.predict(save(dicom(_pixels((70, 90)), region(BOX)), tmp_path / "one.dcm"))
    tracked = _tracked(one.save_dicom_sr(tmp_path / "sr.dcm"))
    assert list(tracked) == ["candidate 1"]
    assert tracked.items() <= _tracked(one.save_dicom_seg(tmp_path / "seg.dcm")).items()


def test_results_name_the_algorithm_as_contributing_equipment(tmp_path: Path) -> None:
    one = bright_model().predict(save(dicom(_pixels((70, 90)), region(BOX)), tmp_path / "one.dcm"))
    for path in (one.save_dicom_seg(tmp_path / "seg.dcm"), one.save_dicom_sr(tmp_path / "sr.dcm")):
        item = pydicom.dcmread(path).ContributingEquipmentSequence[0]
        assert (item.Manufacturer, item.ManufacturerModelName) == ("bcdseg", "bcdseg bright")
        assert item.SoftwareVersions == bcdseg.__version__
        assert item.DeviceUID
        assert item.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"


def test_an_unreadable_header_has_no_root(model: Path, run_main: Run, tmp_path: Path) -> None:
    odd: dict[str, Any] = {"PatientSex": "SECRET"}
    save(dicom(_pixels((70, 90)), **odd), tmp_path / "in" / "odd.dcm")
    options = ["--model", model, "--out", tmp_path / "out", "--dicom-sr", "--dicom-root", "--identity", "pacs"]
    done = run_main("predict", tmp_path / "in", *options)
    assert done.returncode == 1
    assert "correct the header" in done.stderr
    assert "SECRET" not in done.stderr
    assert not list((tmp_path / "out").glob("study_*"))
