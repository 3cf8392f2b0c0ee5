"""Scans that arrive in a folder are predicted once each: when they are complete, whatever is next to them, also after a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orthanc
import pydicom
import pytest
from bright import bright_model
from drawn import draw_ellipse
from made_dicom import content, dicom, region, save
from numpy.typing import NDArray
from orthanc import PASSWORD, USER, Orthanc
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.uid import MultiFrameGrayscaleByteSecondaryCaptureImageStorage, RLELossless
from pynetdicom import AE

import bcdseg
from bcdseg import ArrivedScan, DicomWebServer, Model, errors, watch_folder
from bcdseg.pacs.dimse import received_scans

SIZE, BOX = (150, 203), (10, 20, 140, 190)


@pytest.fixture(scope="module")
def bright() -> Model:
    return bright_model()


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


def _pixels(step: int = 0) -> NDArray[np.uint8]:
    return np.where(draw_ellipse(SIZE, (70, 90), (20 + step, 40 + step), 25), 230, 20).astype(np.uint8)


def _scan(path: Path, step: int = 0, **elements: Any) -> Any:
    made = dicom(_pixels(step), region(BOX, (0.02, 0.03)), **elements)
    save(made, path)
    return made


def _all(model: Model, incoming: Path, **options: Any) -> list[ArrivedScan]:
    return list(watch_folder(model, incoming, incoming.parent / "out", **{"settle": 0, "once": True, **options}))


def test_each_file_is_predicted_once(bright: Model, incoming: Path) -> None:
    source = _scan(incoming / "ward" / "a.dcm")
    Image.fromarray(_pixels()).save(incoming / "b.png")
    save(dicom(np.stack([_pixels(step) for step in range(3)]), clip=True), incoming / "clip")
    first = {scan.file.name: scan for scan in _all(bright, incoming, identity="pacs")}
    assert {name: len(scan.predictions) for name, scan in first.items()} == {"a.dcm": 1, "b.png": 1, "clip": 3}
    out = incoming.parent / "out"
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")}
    ends = (".json", "_mask.png", "_overlay.png")
    assert written == {
        *(f"ward/a.dcm{end}" for end in (*ends, "_seg.dcm", "_sr.dcm")),
        *(f"b.png{end}" for end in ends),
        *("clip.json", "clip_seg.dcm", "clip_sr.dcm"),
    }
    made = pydicom.dcmread(out / "ward" / "a.dcm_seg.dcm")
    assert (made.PatientID, made.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert _all(bright, incoming, identity="pacs") == [], "a restart predicts nothing again"
    Image.fromarray(_pixels(3)).save(incoming / "b.png")
    _scan(incoming / "c.dcm")
    assert sorted(scan.file.name for scan in _all(bright, incoming, identity="pacs")) == ["b.png", "c.dcm"]
    with pytest.raises(errors.OptionError, match="identity 'pacs', not 'shared'"):
        _all(bright, incoming)
    with pytest.raises(errors.OptionError, match="another model"):
        _all(bright_model(rules=bcdseg.Rules(threshold=0.6)), incoming, identity="pacs")


def test_for_sharing_the_results_name_nobody(bright: Model, incoming: Path) -> None:
    source = _scan(incoming / "a.dcm")
    (scan,) = _all(bright, incoming)
    made = [pydicom.dcmread(path) for path in scan.written if path.suffix == ".dcm"]
    assert len(made) == 2
    assert all(one.PatientID != source.PatientID and one.PatientIdentityRemoved == "YES" for one in made)


def test_a_bad_file_is_reported_once_and_ends_nothing(bright: Model, incoming: Path) -> None:
    (incoming / "a.png").write_bytes(b"\x89PNG cut off")
    (incoming / "empty.dcm").touch()
    report = bright.predict(save(dicom(_pixels()), incoming.parent / "scan.dcm")).save_dicom_sr(incoming / "report.dcm")
    _scan(incoming / "z.dcm")
    found = {scan.file.name: scan for scan in _all(bright, incoming)}
    assert isinstance(found["a.png"].error, errors.ImageError)
    assert isinstance(found["empty.dcm"].error, errors.ImageError)
    assert (found[report.name].error, found[report.name].predictions) == (None, ())
    assert len(found["z.dcm"].predictions) == 1
    assert _all(bright, incoming) == []


def test_the_error_of_a_clip_names_the_frame_and_nothing_of_it_is_stored(bright: Model, incoming: Path) -> None:
    made = dicom(np.stack([_pixels(step) for step in range(4)]), clip=True)
    made.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    parts = list(generate_frames(made.PixelData, number_of_frames=4))
    made.PixelData = encapsulate([*parts[:2], b"\0" * len(parts[2]), parts[3]])
    save(made, incoming / "clip.dcm")
    (scan,) = _all(bright, incoming)
    assert "clip.dcm#3: " in str(scan.error)
    assert not scan.written
    assert [path.name for path in (incoming.parent / "out").iterdir() if not path.name.startswith(".")] == []


def test_a_file_of_others_in_the_output_folder_is_not_replaced(bright: Model, incoming: Path) -> None:
    other = incoming.parent / "out" / "a.dcm_mask.png"
    other.parent.mkdir()
    other.write_bytes(b"drawn by hand")
    _scan(incoming / "a.dcm")
    (scan,) = _all(bright, incoming)
    assert isinstance(scan.error, errors.OutputExistsError)
    assert other.read_bytes() == b"drawn by hand"
    assert [path.name for path in other.parent.iterdir() if not path.name.startswith(".")] == [other.name]


def test_results_that_a_changed_file_no_longer_has_are_removed(bright: Model, incoming: Path) -> None:
    out, file = incoming.parent / "out", incoming / "ward" / "a.dcm"
    _scan(file)
    _all(bright, incoming)
    assert (out / "ward" / "a.dcm_mask.png").exists()
    other = out / "ward" / "a.dcm_notes.png"
    other.write_bytes(b"drawn by hand")
    save(dicom(np.stack([_pixels(step) for step in range(3)]), clip=True), file)
    (scan,) = _all(bright, incoming)
    left = {path.name for path in (out / "ward").iterdir()}
    assert left == {other.name, *(f"a.dcm{end}" for end in (".json", "_seg.dcm", "_sr.dcm"))}
    assert {path.name for path in scan.written} == left - {other.name}
    file.write_bytes(b"cut off")
    (failed,) = _all(bright, incoming)
    assert failed.error is not None
    assert [path.name for path in (out / "ward").iterdir()] == [other.name]


def test_a_long_name_does_not_end_the_watch(bright: Model, incoming: Path) -> None:
    name = "x" * 245 + ".png"
    Image.fromarray(_pixels()).save(incoming / name)
    _scan(incoming / "z.dcm")
    found = {scan.file.name: (scan.error, len(scan.written)) for scan in _all(bright, incoming)}
    assert found == {name: (None, 3), "z.dcm": (None, 5)}


def test_a_file_is_read_when_it_no_longer_grows(bright: Model, incoming: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(dicom(_pixels(), region(BOX, (0.02, 0.03))))
    growing, stop = incoming / "a.dcm", threading.Event()
    growing.write_bytes(whole[:1000])
    clock = [0.0]

    def wait(seconds: float) -> bool:
        clock[0] += seconds
        if clock[0] == 1.5:
            growing.write_bytes(whole)
        return False

    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(stop, "wait", wait)
    (scan,) = _all(bright, incoming, settle=3, stop=stop)
    assert (scan.error, len(scan.predictions)) == (None, 1)
    assert clock[0] == 4.5


def test_a_killed_run_repeats_only_what_was_not_recorded(bright: Model, incoming: Path) -> None:
    for step in range(3):
        _scan(incoming / f"{step}.dcm", step)
    watching = watch_folder(bright, incoming, incoming.parent / "out", settle=0)
    done = {next(watching).file.name, next(watching).file.name}
    watching.close()  # type: ignore[attr-defined]
    assert {scan.file.name for scan in _all(bright, incoming)} == {"0.dcm", "1.dcm", "2.dcm"} - done


def test_the_watch_ends_when_it_is_stopped(bright: Model, incoming: Path) -> None:
    stop = threading.Event()
    _scan(incoming / "a.dcm")
    arrived = []
    for scan in watch_folder(bright, incoming, incoming.parent / "out", settle=0, stop=stop):
        arrived.append(scan.file.name)
        stop.set()
    assert arrived == ["a.dcm"]


def test_wrong_options_are_refused(bright: Model, incoming: Path) -> None:
    with pytest.raises(errors.OptionError, match="is not a folder"):
        watch_folder(bright, incoming / "none", incoming.parent / "out")
    with pytest.raises(errors.OptionError, match="is in the watched folder"):
        watch_folder(bright, incoming, incoming / "out")
    with pytest.raises(errors.OptionError, match="0 seconds or more"):
        watch_folder(bright, incoming, incoming.parent / "out", settle=-1)
    with pytest.raises(errors.OptionError, match="'root' is a report that is stored in a PACS"):
        watch_folder(bright, incoming, incoming.parent / "out", kinds=["seg", "root"])
    with pytest.raises(errors.OptionError, match="contradicts server="):
        watch_folder(bright, incoming, incoming.parent / "out", identity="shared", server=DicomWebServer("http://localhost"))


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    if not orthanc.is_installed():
        pytest.skip(orthanc.MISSING)
    running = Orthanc(tmp_path / "orthanc").start()
    yield running
    running.kill()


def test_results_are_stored_in_a_pacs_also_after_it_failed(pacs: Orthanc, bright: Model, incoming: Path) -> None:
    server = DicomWebServer(pacs.url, USER, PASSWORD, attempts=1)
    source = _scan(incoming / "a.dcm")
    Image.fromarray(_pixels()).save(incoming / "b.png")
    pacs.kill()
    first = {scan.file.name: scan for scan in _all(bright, incoming, server=server)}
    assert first["a.dcm"].will_retry
    assert isinstance(first["a.dcm"].error, errors.PacsError)
    pacs.start()
    again = {scan.file.name: scan for scan in _all(bright, incoming, server=server)}
    assert (again["a.dcm"].error, again["a.dcm"].will_retry) == (None, False)
    picture = {**first, **again}["b.png"]
    assert "belongs to no study" in str(picture.error)
    assert sorted(path.name for path in picture.written) == ["b.png.json", "b.png_mask.png", "b.png_overlay.png"]
    stored = [pydicom.dcmread(pydicom.filebase.DicomBytesIO(file)) for file in pacs.instances().values()]
    assert sorted(one.Modality for one in stored) == ["SEG", "SR"]
    assert {one.StudyInstanceUID for one in stored} == {source.StudyInstanceUID}
    assert _all(bright, incoming, server=server) == []


def test_results_that_a_pacs_refuses_are_in_the_folder(bright: Model, incoming: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise errors.PacsObjectError("http://pacs: does not store 2 of 2 results (DICOM status 0xA700).")

    monkeypatch.setattr(DicomWebServer, "instances", lambda *_: [])
    monkeypatch.setattr(DicomWebServer, "store", refuse)
    source = _scan(incoming / "a.dcm")
    (scan,) = _all(bright, incoming, server=DicomWebServer("http://127.0.0.1:9/dicom-web"))
    assert isinstance(scan.error, errors.PacsObjectError)
    assert not scan.will_retry
    assert len(scan.predictions) == 1
    assert len(scan.written) == 5
    report = next(path for path in scan.written if path.name.endswith("_sr.dcm"))
    assert pydicom.dcmread(report).PatientID == source.PatientID


def test_other_pixels_under_the_uid_of_a_stored_result_are_reported(
    bright: Model, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[Any] = []
    monkeypatch.setattr(DicomWebServer, "instances", lambda *_: [SimpleNamespace(uid=one.SOPInstanceUID) for one in stored])
    monkeypatch.setattr(
        DicomWebServer, "store", lambda _self, _study, objects: stored.extend(pydicom.dcmread(DicomBytesIO(one)) for one in objects)
    )
    server, uid = DicomWebServer("http://127.0.0.1:9/dicom-web"), _scan(incoming / "a.dcm").SOPInstanceUID
    assert [scan.error for scan in _all(bright, incoming, server=server)] == [None]
    _scan(incoming / "a.dcm", SOPInstanceUID=uid, PatientName="corrected")
    assert [scan.error for scan in _all(bright, incoming, server=server)] == [None], "the same results"
    other = _scan(incoming / "b.dcm", 5)
    assert [scan.error for scan in _all(bright, incoming, server=server)] == [None]
    save(other, incoming / "a.dcm")
    assert [scan.error for scan in _all(bright, incoming, server=server)] == [None], "another image in a file of the same name"
    assert len(stored) == 4
    _scan(incoming / "a.dcm", SOPInstanceUID=uid)
    _all(bright, incoming, server=server)
    _scan(incoming / "a.dcm", 12, SOPInstanceUID=uid)
    (scan,) = _all(bright, incoming, server=server)
    assert isinstance(scan.error, errors.PacsObjectError)
    assert uid in str(scan.error)
    assert not scan.will_retry
    assert len(stored) == 4
    (new,) = (path for path in scan.written if path.name.endswith("_seg.dcm"))
    np.testing.assert_array_equal(pydicom.dcmread(new).pixel_array, bright.predict(incoming / "a.dcm").mask)


def test_a_scan_that_is_replaced_while_it_is_predicted_is_predicted_again(
    bright: Model, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, sent = incoming / "a.dcm", []
    monkeypatch.setattr(DicomWebServer, "instances", lambda *_: [])
    monkeypatch.setattr(DicomWebServer, "store", lambda _self, _study, objects: sent.extend(map(DicomBytesIO, objects)))
    _scan(file, PatientID="first")
    predict = bright.predict

    def replacing(source: Any, **options: Any) -> Any:
        found = predict(source, **options)
        if pydicom.dcmread(file).PatientID == "first":
            _scan(file, 12, PatientID="second")
        return found

    monkeypatch.setattr(bright, "predict", replacing)
    (scan,) = _all(bright, incoming, server=DicomWebServer("http://127.0.0.1:9/dicom-web"), kinds=["seg"])
    (stored,) = map(pydicom.dcmread, sent)
    assert stored.PatientID == "second"
    np.testing.assert_array_equal(stored.pixel_array, predict(file).mask)
    assert scan.error is None


def test_a_scan_without_its_uid_is_reported(bright: Model, incoming: Path) -> None:
    made = _scan(incoming / "a.dcm")
    del made.SOPInstanceUID
    made.save_as(incoming / "a.dcm", enforce_file_format=False)
    (scan,) = _all(bright, incoming)
    assert "lacks UIDs" in str(scan.error)


def test_a_watched_study_needs_only_the_report_that_lists_its_results(pacs: Orthanc, bright: Model, incoming: Path) -> None:
    server = DicomWebServer(pacs.url, USER, PASSWORD, attempts=1)
    source = _scan(incoming / "a.dcm")
    pacs.store(content(source))
    (scan,) = _all(bright, incoming, server=server)
    assert (scan.error, len(pacs.instances())) == (None, 3)
    (result,) = bcdseg.predict_dicomweb(bright, server, study=source.StudyInstanceUID)
    assert (result.stored, result.error) == ((), None)
    assert len(pacs.instances()) == 4
    assert result.root in pacs.instances()


def _lists(file: bytes) -> set[str]:
    """Return the UIDs of the objects that a report refers to."""
    (study,) = pydicom.dcmread(pydicom.filebase.DicomBytesIO(file)).CurrentRequestedProcedureEvidenceSequence
    return {one.ReferencedSOPInstanceUID for series in study.ReferencedSeriesSequence for one in series.ReferencedSOPSequence}


def test_the_report_of_a_watched_study_lists_all_results_after_each_scan(pacs: Orthanc, bright: Model, incoming: Path) -> None:
    server, kinds = DicomWebServer(pacs.url, USER, PASSWORD, attempts=1), ("seg", "sr", "root")
    sources, roots = [], []
    for step in range(2):
        same_study = {"StudyInstanceUID": sources[0].StudyInstanceUID} if sources else {}
        sources.append(_scan(incoming / f"{step}.dcm", step, **same_study))
        (scan,) = _all(bright, incoming, server=server, kinds=kinds)  # before the PACS has the scan itself
        assert (scan.error, scan.root is None) == (None, False)
        roots.append(str(scan.root))
        pacs.store(content(sources[-1]))
    stored = pacs.instances()
    assert _lists(stored[roots[1]]) == set(stored) - set(roots)
    (before,) = pydicom.dcmread(pydicom.filebase.DicomBytesIO(stored[roots[1]])).PredecessorDocumentsSequence
    assert before.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == roots[0]
    assert _all(bright, incoming, server=server, kinds=kinds) == []
    results = list(bcdseg.predict_dicomweb(bright, server, study=sources[0].StudyInstanceUID))
    assert [(result.stored, result.root) for result in results] == [((), None)] * 2, "both commands store the same report"


def _send(port: int, *scans: Any, title: str = "BCDSEG", sender: str = "SCANNER1") -> list[int | None]:
    entity = AE(ae_title=sender)
    for kind in {scan.SOPClassUID for scan in scans}:
        entity.add_requested_context(kind)
    association = entity.associate("127.0.0.1", port, ae_title=title)
    if not association.is_established:
        return [None]
    statuses = [int(association.send_c_store(scan).Status) for scan in scans]
    association.release()
    return statuses


def test_scans_that_machines_send_arrive_whole_and_once(bright: Model, incoming: Path) -> None:
    scan = dicom(_pixels(), region(BOX, (0.02, 0.03)))
    with received_scans(incoming, port=0, senders=["SCANNER1"]) as port:
        assert _send(port, scan) == [0]
        (file,) = incoming.iterdir()
        before = file.stat().st_mtime_ns
        assert _send(port, scan) == [0]
        assert file.stat().st_mtime_ns == before, "the same scan again replaces nothing"
        assert _send(port, scan, title="OTHER") == [None]
        assert _send(port, scan, sender="STRANGER") == [None]
        with pytest.raises(errors.OptionError, match="can't listen"), received_scans(incoming, port=port):
            pass
    assert pydicom.dcmread(file).PixelData == scan.PixelData
    (found,) = _all(bright, incoming)
    assert found.predictions[0].lesions == bright.predict(scan).lesions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"title": "A\\B"}, "without backslashes"),
        ({"senders": ["Gerät"]}, "senders='Gerät'"),
        ({"senders": ["SCANNER1", "A" * 17]}, "has 1 to 16 characters"),
        ({"host": ""}, "name the address"),
        ({"port": 70000}, "can't listen"),
    ],
)
def test_wrong_options_of_the_reception_are_refused(incoming: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.OptionError, match=message), received_scans(incoming, **{"port": 0, **options}):
        pass


def test_clips_that_machines_send_as_secondary_captures_arrive(bright: Model, incoming: Path) -> None:
    clip = dicom(np.stack([_pixels(step) for step in range(3)]), clip=True)
    clip.SOPClassUID = clip.file_meta.MediaStorageSOPClassUID = MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    with received_scans(incoming, port=0) as port:
        assert _send(port, clip) == [0]
    (found,) = _all(bright, incoming)
    assert len(found.predictions) == 3


Run = Callable[..., Any]


def test_the_command_predicts_what_is_in_a_folder(incoming: Path, run_main: Run) -> None:
    model = bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32).save(incoming.parent / "model")
    source = _scan(incoming / "a.dcm")
    (incoming / "bad.png").write_bytes(b"no image")
    arguments = ["watch", incoming, "--out", incoming.parent / "out", "--model", model, "--settle", "0", "--once", "--no-seg"]
    done = run_main(*arguments, "--identity", "pacs")
    assert done.returncode == 1
    assert "a.dcm: " in done.stdout
    assert "bad.png: " in done.stderr
    made = pydicom.dcmread(incoming.parent / "out" / "a.dcm_sr.dcm")
    assert made.PatientID == source.PatientID
    assert not (incoming.parent / "out" / "a.dcm_seg.dcm").exists()
    again = run_main(*arguments, "--identity", "pacs", "--dimse", "0")
    assert again.returncode == 0
    assert "unencrypted" in again.stderr
    assert "give --dimse too" in run_main(*arguments, "--sender", "X").stderr
    assert "give --server too" in run_main(*arguments, "--user", "X").stderr
    assert "give --server too" in run_main(*arguments, "--root").stderr
