"""Studies of a real Orthanc are predicted over DICOMweb: nothing is lost or doubled, and each trouble is one clear error."""

from __future__ import annotations

import io
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import orthanc
import pydicom
import pytest
from bright import bright_model
from drawn import draw_ellipse
from made_dicom import PATIENT_ID, content, dicom, region, save
from numpy.typing import NDArray
from orthanc import PASSWORD, USER, Orthanc, Proxy
from pydicom.uid import generate_uid

import bcdseg
from bcdseg import DicomWebServer, Model, PacsResult, errors, predict_dicomweb

pytestmark = pytest.mark.skipif(not orthanc.is_installed(), reason=orthanc.MISSING)

SIZE, BOX = (150, 203), (10, 20, 140, 190)


@pytest.fixture(scope="module")
def bright() -> Model:
    return bright_model()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    running = Orthanc(tmp_path_factory.mktemp("orthanc")).start()
    yield running
    running.kill()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Orthanc]:
    """A server of a test's own, which the test may kill."""
    running = Orthanc(tmp_path / "orthanc").start()
    yield running
    running.kill()


def _server(pacs: Orthanc, **options: Any) -> DicomWebServer:
    return DicomWebServer(pacs.url, **{"user": USER, "password": PASSWORD, "attempts": 1, **options})


def _pixels(step: int = 0) -> NDArray[np.uint8]:
    return np.where(draw_ellipse(SIZE, (70, 90), (20 + step, 40 + step), 25), 230, 20).astype(np.uint8)


def _study(pacs: Orthanc, images: int = 1, **elements: Any) -> tuple[str, list[Any]]:
    """Store a study of several images, each with a larger lesion."""
    study = generate_uid()
    shared = {"StudyInstanceUID": study, "IssuerOfPatientID": "hospital", **elements}
    made = [dicom(_pixels(step), region(BOX, (0.02, 0.03)), **shared) for step in range(images)]
    for one in made:
        pacs.store(content(one))
    return study, made


def _stored(pacs: Orthanc, study: str) -> dict[str, Any]:
    """Return what the server has of a study besides ultrasound, as data sets by UID."""
    found = {uid: pydicom.dcmread(io.BytesIO(file)) for uid, file in pacs.instances().items()}
    return {uid: one for uid, one in found.items() if one.StudyInstanceUID == study and one.Modality != "US"}


def _results(pacs: Orthanc, study: str) -> dict[str, Any]:
    """Return the segmentations and reports of a study, without the report that lists all of them."""
    return {uid: one for uid, one in _stored(pacs, study).items() if "All results" not in one.SeriesDescription}


def _roots(pacs: Orthanc, study: str) -> list[Any]:
    """Return the reports that list all results of a study, the first first."""
    found = [one for one in _stored(pacs, study).values() if "All results" in one.SeriesDescription]
    return sorted(found, key=lambda one: int(one.InstanceNumber))


def test_results_are_stored_with_their_scan_and_read_again(pacs: Orthanc, bright: Model) -> None:
    study, (image,) = _study(pacs)
    (result,) = predict_dicomweb(bright, _server(pacs), study=study)
    assert (result.error, result.image, len(result.stored)) == (None, image.SOPInstanceUID, 2)
    stored = _results(pacs, study)
    assert sorted(stored) == sorted(result.stored)
    expected = bright.predict(image)
    for one in stored.values():
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate", "IssuerOfPatientID"):
            assert one[keyword].value == image[keyword].value
        assert "PatientIdentityRemoved" not in one
    by_kind = {one.Modality: one for one in stored.values()}
    seg = highdicom.seg.Segmentation.from_dataset(by_kind["SEG"])
    found = seg.get_pixels_by_source_instance([image.SOPInstanceUID], ignore_spatial_locations=True)
    np.testing.assert_array_equal(found[0, ..., 0], expected.mask)
    report = highdicom.sr.Comprehensive3DSR.from_dataset(by_kind["SR"])
    (group,) = report.content.get_planar_roi_measurement_groups()
    values = {each.name.meaning: float(each.value) for each in group.get_measurements()}
    assert values["Long axis"] == pytest.approx(expected.lesions[0].long_axis_mm, abs=1e-3)
    assert image.SOPInstanceUID in {uid for _, _, uid, _ in report.get_evidence()}
    assert result.predictions[0].lesions == expected.lesions


def test_a_study_that_is_predicted_twice_has_its_results_once(pacs: Orthanc, bright: Model) -> None:
    study, _ = _study(pacs, 2)
    first = list(predict_dicomweb(bright, _server(pacs), study=study))
    again = list(predict_dicomweb(bright, _server(pacs), study=study))
    assert [len(one.stored) for one in first] == [2, 2]
    assert [(one.stored, one.predictions, one.error) for one in again] == [((), (), None)] * 2
    assert len(_results(pacs, study)) == 4
    other = list(predict_dicomweb(bright, _server(pacs), study=study, threshold=0.6))
    assert [len(one.stored) for one in other] == [2, 2], "other options make other objects"
    assert len(_results(pacs, study)) == 8


def _evidence(root: Any) -> set[str]:
    return {uid for _, _, uid, _ in highdicom.sr.Comprehensive3DSR.from_dataset(root).get_evidence()}


def test_one_report_lists_all_results_of_a_study(pacs: Orthanc, bright: Model, tmp_path: Path) -> None:
    study, images = _study(pacs, 2)
    results = list(predict_dicomweb(bright, _server(pacs), study=study))
    (root,) = _roots(pacs, study)
    assert [one.root for one in results] == [None, root.SOPInstanceUID]
    stored = {uid for one in results for uid in one.stored}
    assert _evidence(root) == {*stored, *(image.SOPInstanceUID for image in images)}
    assert (root.PatientID, root.AccessionNumber) == (images[0].PatientID, images[0].AccessionNumber)
    groups = highdicom.sr.Comprehensive3DSR.from_dataset(root).content.get_image_measurement_groups()
    names = {one.SOPInstanceUID: one.Modality for one in _results(pacs, study).values()}
    for group in groups:
        referred = [item.referenced_sop_instance_uid for item in group[0].ContentSequence if "ReferencedSOPSequence" in item]
        assert [names.get(uid) for uid in referred] == [None, "SR", "SEG"]
    if checker := shutil.which("dciodvfy"):
        root.save_as(tmp_path / "root.dcm")
        done = subprocess.run([checker, "-new", str(tmp_path / "root.dcm")], capture_output=True, text=True, check=False)
        assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    again = list(predict_dicomweb(bright, _server(pacs), study=study))
    assert [one.root for one in again] == [None, None]
    assert len(_stored(pacs, study)) == 5, "the same study again stores nothing"


def test_a_study_with_more_results_gets_a_report_that_replaces_the_earlier_one(pacs: Orthanc, bright: Model) -> None:
    study, _ = _study(pacs)
    list(predict_dicomweb(bright, _server(pacs), study=study))
    pacs.store(content(dicom(_pixels(5), region(BOX), StudyInstanceUID=study)))
    list(predict_dicomweb(bright, _server(pacs), study=study))
    first, second = _roots(pacs, study)
    assert len(_evidence(first)) == 3
    assert set(_results(pacs, study)) < _evidence(second)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    (series,) = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == [first.SOPInstanceUID]


def test_only_the_report_of_all_results_is_stored_if_it_alone_is_missing(pacs: Orthanc, bright: Model) -> None:
    study, _ = _study(pacs)
    (without,) = predict_dicomweb(bright, _server(pacs), study=study, kinds=["seg", "sr"])
    assert (len(without.stored), without.root, _roots(pacs, study)) == (2, None, [])
    (result,) = predict_dicomweb(bright, _server(pacs), study=study)
    assert (result.stored, result.predictions, result.error) == ((), (), None)
    assert [one.SOPInstanceUID for one in _roots(pacs, study)] == [result.root]


def test_the_lesions_of_an_image_are_tracked_by_segments_and_report(pacs: Orthanc, bright: Model) -> None:
    two = np.maximum(_pixels(), np.where(draw_ellipse(SIZE, (120, 160), (15, 15), 25), 230, 20).astype(np.uint8))
    image = dicom(two, region(BOX, (0.02, 0.03)))
    pacs.store(content(image))
    list(predict_dicomweb(bright, _server(pacs), study=image.StudyInstanceUID))
    by_kind = {one.Modality: one for one in _results(pacs, image.StudyInstanceUID).values()}
    segments = {one.TrackingID: one.TrackingUID for one in by_kind["SEG"].SegmentSequence}
    groups = highdicom.sr.Comprehensive3DSR.from_dataset(by_kind["SR"]).content.get_planar_roi_measurement_groups()
    assert segments == {one.tracking_identifier: one.tracking_uid for one in groups}
    assert list(segments) == ["lesion 1", "lesion 2"]


def test_only_what_is_missing_is_stored_again(pacs: Orthanc, bright: Model) -> None:
    study, _ = _study(pacs)
    (first,) = predict_dicomweb(bright, _server(pacs), study=study)
    lost = next(uid for uid, one in _results(pacs, study).items() if one.Modality == "SEG")
    (name,) = pacs.request("POST", "/tools/lookup", data=lost).json()
    pacs.request("DELETE", f"/instances/{name['ID']}")
    (again,) = predict_dicomweb(bright, _server(pacs), study=study)
    assert again.stored == (lost,)
    assert sorted(_results(pacs, study)) == sorted(first.stored)


def test_a_clip_is_one_segmentation_and_one_report(pacs: Orthanc, bright: Model) -> None:
    frames = np.stack([_pixels(step) for step in range(4)])
    clip = dicom(frames, region(BOX, (0.02, 0.02)), clip=True)
    pacs.store(content(clip))
    (result,) = predict_dicomweb(bright, _server(pacs), study=clip.StudyInstanceUID, frames=2)
    assert [one.frame for one in result.predictions] == [1, 3]
    seg = next(one for one in _results(pacs, clip.StudyInstanceUID).values() if one.Modality == "SEG")
    found = highdicom.seg.Segmentation.from_dataset(seg)
    masks = found.get_pixels_by_source_frame(clip.SOPInstanceUID, [1, 3], ignore_spatial_locations=True)[..., 0]
    np.testing.assert_array_equal(masks, np.stack([one.mask for one in bright.predict(clip, frames=2)]))


def test_a_query_finds_the_studies(pacs: Orthanc, bright: Model) -> None:
    patient = f"query-{generate_uid()[-20:]}"
    studies = {_study(pacs, PatientID=patient)[0] for _ in range(2)}
    _study(pacs, PatientID=patient, Modality="MG", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    results = list(predict_dicomweb(bright, _server(pacs), query={"PatientID": patient}))
    assert {one.study for one in results} == studies
    _study(pacs, PatientID=f"{patient}v", SOPClassUID="1.2.840.10008.5.1.4.1.1.6.2")  # a volume, which is not read
    for unknown in ("nobody", f"{patient}v"):
        with pytest.raises(errors.PacsError, match="no study with ultrasound that matches"):
            list(predict_dicomweb(bright, _server(pacs), query={"PatientID": unknown}))


def test_a_bad_image_does_not_end_the_study(pacs: Orthanc, bright: Model) -> None:
    study, (good,) = _study(pacs)
    bad = dicom(_pixels(), StudyInstanceUID=study, PixelData=b"\0" * 100)
    pacs.store(content(bad))
    results = {one.image: one for one in predict_dicomweb(bright, _server(pacs), study=study)}
    assert len(results[good.SOPInstanceUID].stored) == 2
    assert isinstance(results[bad.SOPInstanceUID].error, errors.ImageError)
    assert bad.SOPInstanceUID in str(results[bad.SOPInstanceUID].error)


def test_an_unexpected_error_does_not_end_the_study(pacs: Orthanc, bright: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    study, (first, second) = _study(pacs, 2)
    predict = bright.predict

    def failing(source: Any, **options: Any) -> Any:
        if source.SOPInstanceUID == first.SOPInstanceUID:
            raise ZeroDivisionError
        return predict(source, **options)

    monkeypatch.setattr(bright, "predict", failing)
    found = {result.image: result for result in predict_dicomweb(bright, _server(pacs), study=study)}
    assert "ZeroDivisionError" in str(found[first.SOPInstanceUID].error)
    assert len(found[second.SOPInstanceUID].stored) == 2


def test_a_server_that_dies_half_way_loses_and_doubles_nothing(mortal: Orthanc, bright: Model) -> None:
    study, images = _study(mortal, 3)
    results = predict_dicomweb(bright, _server(mortal), study=study)
    first = next(results)
    mortal.kill()
    with pytest.raises(errors.PacsError, match=r"connection was lost while retrieving .* what is stored is not stored again"):
        next(results)
    mortal.start()
    assert sorted(_results(mortal, study)) == sorted(first.stored)
    done = list(predict_dicomweb(bright, _server(mortal), study=study))
    assert sorted(len(one.stored) for one in done) == [0, 2, 2]
    assert len(_results(mortal, study)) == 2 * len(images)


def test_a_lost_response_to_a_stored_result_doubles_nothing(pacs: Orthanc, bright: Model) -> None:
    study, _ = _study(pacs)
    severed = Proxy(pacs.port, severs=True)
    through = DicomWebServer(f"http://127.0.0.1:{severed.port}/dicom-web", USER, PASSWORD, attempts=1)
    with pytest.raises(errors.PacsError, match="connection was lost while storing"):
        list(predict_dicomweb(bright, through, study=study))
    severed.close()
    assert len(_results(pacs, study)) == 2, "the server has stored them"
    (again,) = predict_dicomweb(bright, _server(pacs), study=study)
    assert again.stored == ()
    assert len(_results(pacs, study)) == 2


def test_wrong_passwords_and_addresses_are_one_clear_error(pacs: Orthanc, bright: Model) -> None:
    study, _ = _study(pacs)

    def refused(**options: Any) -> str:
        with pytest.raises(errors.PacsError) as caught:
            list(predict_dicomweb(bright, _server(pacs, **options), study=study))
        assert "correct horse" not in str(caught.value)
        return str(caught.value)

    assert "refuses the user while searching (HTTP 401)" in refused(password="wrong")
    assert "refuses the user" in refused(user=None, password=None)
    assert "refuses the user" in refused(user=None, password=None, token="unknown")
    elsewhere = DicomWebServer(pacs.url.replace("/dicom-web", "/app"), USER, PASSWORD, attempts=1)
    with pytest.raises(errors.PacsError, match="often ends in /dicom-web"):
        elsewhere.instances(study)
    nobody = DicomWebServer(f"http://127.0.0.1:{orthanc.free_port()}/dicom-web", attempts=1)
    with pytest.raises(errors.PacsError, match="can't be reached"):
        nobody.instances(study)
    with pytest.raises(errors.PacsError, match=r"has no study 1\.2\.3"):
        list(predict_dicomweb(bright, _server(pacs), study="1.2.3"))
    assert not _results(pacs, study)


def test_an_object_that_the_server_does_not_store_is_one_error(pacs: Orthanc) -> None:
    study, _ = _study(pacs)
    with pytest.raises(errors.PacsObjectError, match=r"while storing results .* \(HTTP 409, DICOM status 0x[0-9A-F]{4}\)"):
        _server(pacs).store(study, [content(dicom(_pixels()))])


def test_a_user_who_may_not_store_is_one_error(tmp_path: Path, bright: Model) -> None:
    script = "function IncomingHttpRequestFilter(method, uri)\n return method ~= 'POST' or uri == '/instances'\nend\n"
    (tmp_path / "filter.lua").write_text(script)
    strict = Orthanc(tmp_path / "orthanc", LuaScripts=[str(tmp_path / "filter.lua")]).start()
    try:
        study, _ = _study(strict)
        with pytest.raises(errors.PacsError, match=r"refuses the user while storing results .* \(HTTP 403\)"):
            list(predict_dicomweb(bright, _server(strict), study=study))
        assert not _results(strict, study)
    finally:
        strict.kill()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 that signs itself, and it with its key in one file."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", *names]
    command = ["openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return certificate, both


def test_certificates_are_verified(tmp_path: Path, pacs: Orthanc, bright: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    (certificate, both), (other, _) = _certificate(tmp_path), _certificate(tmp_path / "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    encryption = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encryption.load_cert_chain(both)
    proxy = Proxy(pacs.port, encryption=encryption)
    study, _ = _study(pacs)
    options = {"user": USER, "password": PASSWORD, "attempts": 1}
    url = f"https://127.0.0.1:{proxy.port}/dicom-web"
    for trusted in (None, other):
        with pytest.raises(errors.PacsError, match=r"certificate can't be verified \(self.signed certificate\).*ca_file="):
            list(predict_dicomweb(bright, DicomWebServer(url, ca_file=trusted, **options), study=study))
    (result,) = predict_dicomweb(bright, DicomWebServer(url, ca_file=certificate, **options), study=study)
    assert len(result.stored) == len(_results(pacs, study)) == 2
    proxy.close()


def test_an_address_without_encryption_is_not_mistaken_for_a_bad_certificate(pacs: Orthanc) -> None:
    with pytest.raises(errors.PacsError, match="no encrypted connection"):
        DicomWebServer(pacs.url.replace("http:", "https:"), attempts=1).instances("1.2.3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "pacs.example.org"}, "address of a DICOMweb service"),
        ({"url": "https://me:secret@pacs/dicom-web"}, "user= and password="),
        ({"user": "me"}, "belong together"),
        ({"user": "me", "password": "x", "token": "y"}, "one of them"),
        ({"ca_file": "nowhere.pem"}, "no such file"),
        ({"url": "http://pacs/dicom-web", "ca_file": "nowhere.pem"}, "not encrypted"),
        ({"attempts": 0}, "1 attempt or more"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.OptionError, match=message) as caught:
        DicomWebServer(**{"url": "https://pacs.example.org/dicom-web", **options})
    assert "secret" not in str(caught.value)


def test_wrong_requests_are_refused(bright: Model, pacs: Orthanc) -> None:
    server = _server(pacs)
    for options in ({}, {"study": "1.2.3", "query": {"PatientID": "1"}}):
        with pytest.raises(errors.OptionError, match="Give either study="):
            predict_dicomweb(bright, server, **options)  # type: ignore[arg-type]
    with pytest.raises(errors.OptionError, match="not a DICOM UID"):
        predict_dicomweb(bright, server, study="../patients")
    with pytest.raises(errors.OptionError, match="not a DICOM keyword"):
        list(predict_dicomweb(bright, server, query={"Patient": "1"}))
    with pytest.raises(errors.OptionError, match=r"'seg' .* 'sr'"):
        predict_dicomweb(bright, server, study="1.2.3", kinds=["report"])


def test_a_result_is_shown_without_the_password(pacs: Orthanc) -> None:
    assert PASSWORD not in repr(_server(pacs))
    assert PacsResult(study="1", series="2", image="3").error is None
    assert PATIENT_ID not in repr(PacsResult(study="1", series="2", image="3"))


Run = Callable[..., Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on disk for the command."""
    return bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32).save(tmp_path_factory.mktemp("model") / "model")


def test_the_command_stores_results_and_resumes(pacs: Orthanc, saved: Path, run_main: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    study, images = _study(pacs, 2)
    pacs.store(content(dicom(_pixels(), StudyInstanceUID=study, PixelData=b"\0" * 100)))
    monkeypatch.setenv("BCDSEG_PACS_PASSWORD", PASSWORD)
    arguments = ["dicomweb", "--server", pacs.url, "--user", USER, "--study", study, "--model", saved, "--no-seg"]
    first, again = run_main(*arguments), run_main(*arguments)
    assert first.returncode == again.returncode == 1
    assert "2 images with new results, 0 that had all of them, 1 without a result." in first.stdout
    assert "0 images with new results, 2 that had all of them, 1 without a result." in again.stdout
    assert all(f"{one.SOPInstanceUID}: " in first.stdout for one in images)
    assert "failed: " in first.stderr
    assert [one.Modality for one in _results(pacs, study).values()] == ["SR", "SR"]
    assert f"study {study}: a report that lists all results is stored" in first.stdout
    assert "lists all results" not in again.stdout
    assert len(_roots(pacs, study)) == 1
    other, _ = _study(pacs)
    assert run_main(*[other if one == study else one for one in arguments], "--no-root").returncode == 0
    assert not _roots(pacs, other)


def test_the_command_reads_secrets_from_files_and_reports_trouble_in_one_line(
    pacs: Orthanc, saved: Path, run_main: Run, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    arguments = ["dicomweb", "--server", pacs.url, "--model", saved, "--attempts", "1"]
    query = [*arguments, "--query", "PatientID=nobody"]
    assert "matches the query" in run_main(*query, "--user", USER, "--password-file", secret).stderr
    secret.write_text("wrong")
    for options, message in (
        ([*query, "--user", USER, "--password-file", secret], "refuses the user"),
        ([*query, "--token-file", secret], "refuses the user"),
        ([*query, "--user", USER], "set BCDSEG_PACS_PASSWORD"),
        ([*query, "--password-file", secret], "give --user too"),
        ([*query, "--user", USER, "--password-file", tmp_path / "none"], "can't be read"),
        ([*arguments, "--query", "PatientID"], "give each keyword once"),
        (arguments, "Name the studies"),
        ([*query, "--no-seg", "--no-sr"], "nothing to store"),
    ):
        done = run_main(*options)
        assert done.returncode == 2
        assert message in done.stderr
        assert "wrong" not in done.stderr


def test_a_connection_that_others_can_read_is_reported(saved: Path, run_main: Run) -> None:
    done = run_main("dicomweb", "--server", "http://pacs.example.org", "--model", saved, "--study", "1.2", "--attempts", "1")
    assert "not encrypted" in done.stderr
    assert "can't be reached" in done.stderr


@pytest.mark.parametrize("page", ["how-to/pacs.md", "reference/pacs.md"])
def test_the_blocks_of_the_page_run(page: str, pacs: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = _study(pacs, PatientID=(patient := f"page-{generate_uid()[-20:]}"))
    monkeypatch.setenv("BCDSEG_PACS_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    save(dicom(_pixels()), tmp_path / "incoming" / "scan.dcm")
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    names: dict[str, object] = {}
    stand_ins = {"https://pacs.example.org/dicom-web": pacs.url, '"4711"': f'"{patient}"', '"1.2.840.1"': f'"{study}"'}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for given, used in stand_ins.items():
            block = block.replace(given, used)
        exec(compile(block, page, "exec"), names)
    assert len(_results(pacs, study)) == 2
    assert (tmp_path / "results" / "scan.dcm_sr.dcm").is_file()
