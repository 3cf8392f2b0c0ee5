"""Responses of a server: predictions equal to the model's to the last bit, for each client its own, and clear errors."""

from __future__ import annotations

import base64
import http.client
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import numpy as np
import pydicom
import pytest
import torch
from drawn import draw_scan
from made_dicom import IDENTIFIERS, content, dicom, region
from PIL import Image
from served import Response, form, send_request, serving

import bcdseg

ADDED = ("model", "library_version", "use", "mask_png")  # facts of the server, besides those of the prediction
REGION = region((10, 20, 110, 150), (0.02, 0.02))


def encoded(seed: int, form: str = "PNG", size: tuple[int, int] = (120, 160)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_scan(seed, size)).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def port(small_model: bcdseg.Model) -> Iterator[int]:
    with serving(small_model) as port:
        yield port


def streamed(model: bcdseg.Model, source: Any, **options: Any) -> bcdseg.Prediction:
    """Return the library's prediction of a scan in a stream, where it computes on one core."""
    (prediction,) = model.predict([source], **options)
    assert isinstance(prediction, bcdseg.Prediction)
    return prediction


def facts_of(response: Response) -> dict[str, Any]:
    """Return the predicted facts of a successful response, without the name of the scan."""
    assert response.status == 200, response.body
    return {name: value for name, value in response.json.items() if name not in ("source", *ADDED)}


def expected_facts(prediction: bcdseg.Prediction) -> dict[str, Any]:
    """Return the facts of a prediction as JSON writes them, without the name of the scan."""
    return {name: value for name, value in json.loads(json.dumps(prediction.to_dict())).items() if name != "source"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_response_is_the_models_prediction_to_the_last_bit(port: int, small_model: bcdseg.Model, kind: str) -> None:
    scan = encoded(3, kind)
    expected = streamed(small_model, scan, spacing=0.1, threshold=0.501)
    response = send_request(port, "POST", "/predict?spacing=0.1&threshold=0.501&mask=true", scan, f"image/{kind.lower()}")
    assert facts_of(response) == expected_facts(expected)
    as_form = send_request(port, "POST", "/predict?spacing=0.1&threshold=0.501", *form(scan))
    assert facts_of(as_form) == expected_facts(expected)
    mask = send_request(port, "POST", "/mask?threshold=0.501", scan)
    assert mask.headers["content-type"] == "image/png"
    assert mask.body == base64.b64decode(str(response.json["mask_png"]))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(mask.body))), expected.mask)
    assert response.headers["cache-control"] == "no-store"
    assert response.json["use"] == "For research. Not a medical device: not for diagnosis."


@pytest.mark.parametrize("kind", ["binary", "probability"])
def test_dicom_comes_back_as_dicom_in_millimetres_and_without_a_name(
    port: int, small_model: bcdseg.Model, kind: str, tmp_path: Any
) -> None:
    made = content(dicom(draw_scan(2), REGION))
    expected = streamed(small_model, made)
    response = send_request(port, "POST", "/predict", made, "application/dicom")
    assert facts_of(response) == expected_facts(expected)
    assert response.json["spacing_from"] == "ultrasound region"
    found = send_request(port, "POST", f"/dicom-seg?kind={kind}", *form(made, name="Secret^Name.dcm"))
    assert found.headers["content-type"] == "application/dicom"
    saved = expected.save_dicom_seg(tmp_path / "seg.dcm", source=made, kind=kind)
    ours, theirs = pydicom.dcmread(io.BytesIO(found.body)), pydicom.dcmread(saved)
    assert ours.PixelData == theirs.PixelData
    assert ours.ReferencedSeriesSequence == theirs.ReferencedSeriesSequence
    assert not [secret for secret in IDENTIFIERS for one in (response, found) if secret.encode() in one.body]


def test_a_frame_of_a_clip_is_predicted_and_a_whole_clip_is_refused(port: int, small_model: bcdseg.Model) -> None:
    frames = np.stack([draw_scan(seed) for seed in range(3)])
    clip = content(dicom(frames, clip=True))
    expected = list(small_model.predict(clip))[1]
    response = send_request(port, "POST", "/predict?frame=2", clip)
    assert facts_of(response) == expected_facts(expected)
    assert response.json["frame"] == 2
    assert "frame=1 to frame=3" in str(send_request(port, "POST", "/predict", clip).json["detail"])
    assert send_request(port, "POST", "/predict?frame=4", clip).status == 422
    segmentation = pydicom.dcmread(io.BytesIO(send_request(port, "POST", "/dicom-seg?frame=2", clip).body))
    item = segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert item.ReferencedFrameNumber == 2


def declared(width: int, height: int) -> bytes:
    """Return a PNG that declares a large size and contains nothing."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


REFUSED: dict[str, tuple[str, tuple[bytes, str], int, str]] = {
    "empty": ("/predict", (b"", ""), 422, "the file is empty"),
    "no image": ("/predict", (b"hello", "image/png"), 422, "is not an image in a format that is read here"),
    "cut off": ("/mask", (encoded(1)[:900], ""), 422, "truncated or damaged"),
    "too small": ("/predict", (encoded(1, size=(8, 8)), ""), 422, "the smallest that is read is 16x16"),
    "too many pixels": ("/predict", (declared(3000, 2000), ""), 413, "2000x3000 pixels; the most that is taken here is 1 million"),
    "a bomb": ("/predict", (declared(60_000, 60_000), ""), 422, "declares more pixels"),
    "too many bytes": ("/predict", (b"x" * 3_000_001, ""), 413, "more than 3 million bytes"),
    "far too many bytes": ("/predict", (b"x" * 12_500_000, ""), 413, "more than 3 million bytes"),
    "cut off DICOM": ("/predict", (content(dicom(draw_scan(2)))[:-500], ""), 422, "upload: "),
    "large DICOM": ("/predict", (content(dicom(np.zeros((1200, 1000), np.uint8))), ""), 413, "1200x1000 pixels"),
    "DICOM requested for a picture": ("/dicom-seg", (encoded(1), ""), 422, "DICOM file"),
    "a frame of a picture": ("/predict?frame=2", (encoded(1), ""), 422, "only DICOM clips"),
    "no form": ("/predict", (b"--x", "multipart/form-data"), 400, "is not a form"),
    "a broken form": ("/predict", (b"nonsense", "multipart/form-data; boundary=x"), 400, "is not a form"),
    "a form without file": (
        "/predict",
        (form(b"x")[0].replace(b"; filename=", b"; nothing="), form(b"x")[1]),
        422,
        "contains no file",
    ),
    "an impossible threshold": ("/predict?threshold=2", (encoded(1), ""), 422, "threshold: "),
    "no number": ("/predict?spacing=" + quote("Secret^Name"), (encoded(1), ""), 422, "spacing: "),
    "not a number": ("/predict?spacing=nan", (encoded(1), ""), 422, "spacing"),
    "an unknown point": ("/predict?operating_point=x", (encoded(1), ""), 422, "operating_point='x'"),
    "a misspelt option": ("/predict?thresold=0.7", (encoded(1), ""), 422, "mask, threshold, spacing, operating_point, frame"),
    "an option of another route": ("/mask?spacing=0.1", (encoded(1), ""), 422, "its options are threshold, frame"),
    "an option given twice": ("/predict?spacing=0.1&spacing=0.3", (encoded(1), ""), 422, "an option more than once"),
    "an option in the form": (
        "/predict",
        (
            form(encoded(1))[0].replace(
                b"--mark--", b'--mark\r\nContent-Disposition: form-data; name="spacing"\r\n\r\n0.1\r\n--mark--'
            ),
            form(b"")[1],
        ),
        422,
        "a field other than 'file'",
    ),
    "no such kind": ("/dicom-seg?kind=x", (encoded(1), ""), 422, "kind: "),
    "no such path": ("/predictions", (encoded(1), ""), 404, "no such route"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_requests_are_refused_with_a_reason(port: int, name: str) -> None:
    path, body, status, words = REFUSED[name]
    response = send_request(port, "POST", path, *body)
    assert (response.status, list(response.json)) == (status, ["detail"]), response.body
    assert words in str(response.json["detail"])
    assert "Secret" not in str(response.json)


def test_thirty_two_simultaneous_clients_each_get_their_own(port: int, small_model: bcdseg.Model) -> None:
    scans = [encoded(seed, size=(60 + seed, 90)) for seed in range(32)]
    thresholds = [0.49 + 0.001 * (seed % 3) for seed in range(32)]
    with ThreadPoolExecutor(32) as pool:
        responses = list(
            pool.map(lambda scan, threshold: send_request(port, "POST", f"/predict?threshold={threshold}", scan), scans, thresholds)
        )
    for scan, threshold, response in zip(scans, thresholds, responses, strict=True):
        assert facts_of(response) == expected_facts(streamed(small_model, scan, threshold=threshold))


def test_a_large_form_is_not_put_into_a_file(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/there/is/no/such/folder")
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)[:, :800]
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert len(buffer.getvalue()) > 2 * 1024 * 1024
    assert send_request(port, "POST", "/predict", *form(buffer.getvalue())).status == 200


def half_sent(port: int, body: bytes) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:100])
    return connection


def test_requests_beyond_the_queue_get_429_and_no_accepted_one_is_lost(small_model: bcdseg.Model) -> None:
    scan = encoded(1)
    with serving(small_model, queue=2) as port:
        taken = [half_sent(port, scan) for _ in range(2)]
        while (refused := send_request(port, "POST", "/predict", scan)).status == 200:  # until both have come through
            pass
        assert refused.status == 429
        assert refused.headers["retry-after"] == "1"
        assert "2 requests wait already" in str(refused.json["detail"])
        assert send_request(port, "GET", "/health").status == 200
        for connection in taken:
            connection.send(scan[100:])
            assert connection.getresponse().status == 200
            connection.close()
        assert send_request(port, "POST", "/predict", scan).status == 200


def test_an_upload_that_does_not_arrive_gives_its_place_back(small_model: bcdseg.Model) -> None:
    with serving(small_model, queue=1, timeout=0.5) as port:
        slow = half_sent(port, encoded(1))
        assert slow.getresponse().status == 408
        slow.close()
        gone = half_sent(port, encoded(1))
        gone.close()
        while (response := send_request(port, "POST", "/mask", encoded(1))).status == 429:
            pass
        assert response.status in (200, 503)  # half a second is little on a busy machine


def test_a_model_that_fails_is_reported_and_takes_no_scan() -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    with torch.no_grad():
        model.network.class_head.linear.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with serving(model) as port:
        assert send_request(port, "GET", "/health").status == send_request(port, "GET", "/ready").status == 503
        response = send_request(port, "POST", "/predict", encoded(1))
        assert (response.status, response.headers["retry-after"]) == (503, "1")


def test_it_describes_itself_without_loading_anything_from_elsewhere(port: int, small_model: bcdseg.Model) -> None:
    page = send_request(port, "GET", "/")
    assert f"http://127.0.0.1:{port}/dicom-seg" in page.body.decode()
    assert b"src=" not in page.body
    assert b"https://" not in page.body
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    paths = send_request(port, "GET", "/openapi.json").json["paths"]
    assert set(paths) == {"/predict", "/mask", "/dicom-seg", "/health", "/ready", "/model"}  # type: ignore[call-overload]
    assert send_request(port, "GET", "/model").json["classes"] == list(small_model.classes)
    assert send_request(port, "GET", "/predict").status == 405


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/predict/", 404, "The server has no such route. GET / lists the routes."),
        ("GET", "/docs", 404, "The server has no such route. GET / lists the routes."),
        ("PUT", "/predict", 405, "This route is for POST requests. GET / lists the routes."),
    ],
)
def test_wrong_routes_and_methods_are_refused_with_what_to_do(port: int, method: str, path: str, status: int, message: str) -> None:
    response = send_request(port, method, path, encoded(1) if method != "GET" else None)
    assert (response.status, response.json) == (status, {"detail": message})


def test_head_is_get_without_a_body(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bcdseg.serve")
    for path, status in (("/health", 200), ("/ready", 200), ("/model", 200), ("/", 200), ("/predict", 405), ("/other", 404)):
        head, get = (send_request(port, method, path) for method in ("HEAD", "GET"))
        assert (head.status, get.status, head.body) == (status, status, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
    assert any(message.startswith("HEAD /health 200") for message in caplog.messages)
