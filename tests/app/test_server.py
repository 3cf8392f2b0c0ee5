"""The page's server, with the requests of the page."""

from __future__ import annotations

import csv
import gc
import http.client
import io
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from drawn import draw_ellipse, draw_scan
from made_dicom import IDENTIFIERS, content, dicom, panicking_rle, region
from made_jpeg import endless_jpeg
from made_tiff import far_strips
from page_client import ORIGIN, Page, png, save_model
from PIL import Image
from pydicom import dcmread
from starlette.applications import Starlette
from starlette.testclient import TestClient

import bcdseg
from bcdseg.app.limits import Limits
from bcdseg.app.prediction_cache import ModelStore
from bcdseg.app.server import create_app
from bcdseg.app.sessions import UploadedScan
from bcdseg.inference.rules import OperatingPoint
from bcdseg.web.server import BoundedServer, ConnectionLimits

LIMITS = Limits(file_bytes=200_000, pixels=300_000, frames=3, scans=4, session_bytes=300_000, sessions=2)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "drawn")


@pytest.fixture(scope="module")
def client(model_folder: Path) -> Iterator[TestClient]:
    with TestClient(
        create_app(ModelStore([str(model_folder)]), limits=LIMITS), base_url=ORIGIN, headers={"origin": ORIGIN}
    ) as client:
        yield client


@pytest.fixture
def page(client: TestClient) -> Page:
    return Page(client)


@cache
def _loaded(folder: Path) -> bcdseg.Model:
    return bcdseg.load(folder)


def _direct(folder: Path, source: object, **options: object) -> bcdseg.Prediction:
    return _loaded(folder).predict(source, **options)


def _mask(found: dict[str, Any]) -> np.ndarray:
    flat = np.zeros(found["height"] * found["width"], bool)
    for start, end in zip(found["edges"][::2], found["edges"][1::2], strict=True):
        flat[start:end] = True
    return flat.reshape(found["height"], found["width"])


@pytest.mark.parametrize("options", [{}, {"threshold": 0.47}, {"threshold": 0.53, "spacing": 0.2}])
def test_the_page_shows_the_predictions_of_the_library(page: Page, model_folder: Path, options: dict[str, float]) -> None:
    pixels = draw_scan(3)
    direct = _direct(model_folder, pixels, **options)
    found = page.prediction(page.add(png(pixels))[0], **options)
    assert {key: found[key] for key in direct.to_dict() if key != "source"} == {
        key: value for key, value in json.loads(json.dumps(direct.to_dict())).items() if key != "source"
    }
    assert (_mask(found) == direct.mask).all()
    assert found["sizes"] == [str(lesion) for lesion in direct.lesions]
    assert found["source"] == "scan.png"


def test_the_map_cuts_at_each_step_of_the_slider_as_the_library_does(page: Page, model_folder: Path) -> None:
    pixels = draw_scan(4)
    reply = page.get(page.add(png(pixels))[0], "levels")
    levels = np.frombuffer(reply.content, np.uint8).reshape(pixels.shape)
    probability = _direct(model_folder, pixels).mask_probability
    assert probability is not None
    for step in range(1, 100):
        assert ((levels >= step) == (probability >= float(f"{step / 100:.2f}"))).all()


def test_downloads_are_the_librarys_own_files(page: Page, model_folder: Path, tmp_path: Path) -> None:
    pixels = draw_scan(5)
    scan = page.add(png(pixels), "my scan é.png")[0]
    direct = _direct(model_folder, pixels, threshold=0.5)
    direct.save(tmp_path, name="direct")
    for kind, name in (("mask.png", "direct_mask.png"), ("overlay.png", "direct_overlay.png")):
        assert page.get(scan, f"files/{kind}", threshold=0.5).content == (tmp_path / name).read_bytes()
    reply = page.get(scan, "files/prediction.json", threshold=0.5)
    assert reply.json() == json.loads((tmp_path / "direct.json").read_text()) | {"source": "my scan é.png"}
    assert reply.headers["content-disposition"] == "attachment; filename*=UTF-8''my%20scan%20%C3%A9.json"
    refused = page.get(scan, "files/outline.dcm")
    assert refused.status_code == 422
    assert "no DICOM output" in refused.json()["error"]


def test_dicom_comes_with_its_scale_and_without_its_patient(page: Page) -> None:
    scan = page.add(content(dicom(draw_scan(6), region((0, 0, 120, 160), (0.02, 0.02)))), "scan.dcm")[0]
    found = page.prediction(scan)
    assert found["spacing_mm"] == pytest.approx([0.2, 0.2])
    assert "machine's own calibration" in found["origin"]
    file = page.get(scan, "files/outline.dcm")
    outline = dcmread(io.BytesIO(file.content))
    assert outline.Modality == "SEG"
    assert (outline.pixel_array.reshape(120, 160).astype(bool) == _mask(found)).all()
    for text in (json.dumps(found).encode(), file.content):
        assert not [secret for secret in IDENTIFIERS if secret.encode() in text]


def test_burned_in_text_next_to_the_scan_is_not_shown(page: Page) -> None:
    pixels = draw_scan(7)
    pixels[:20] = 255
    scan = page.add(content(dicom(pixels, region((20, 0, 120, 160)))), "scan.dcm")[0]
    shown = np.asarray(Image.open(io.BytesIO(page.get(scan, "image.png").content)))
    assert shown[:20].max() == 0
    assert (shown[20:] == pixels[20:]).all()


def test_a_clip_becomes_a_bounded_number_of_frames(page: Page) -> None:
    clip = np.stack([draw_scan(seed) for seed in range(7)])
    scans = page.add(content(dicom(clip, clip=True)), "clip.dcm")
    assert [(scan["name"], scan["frame"]) for scan in scans] == [("clip.dcm#1", 1), ("clip.dcm#4", 4), ("clip.dcm#7", 7)]
    clip = scans[0]["clip"]
    assert [scan["clip"] for scan in scans] == [clip] * 3
    assert (clip["name"], clip["frames"], clip["every"], clip["left_out"]) == ("clip.dcm", 7, 3, 4)
    assert page.prediction(scans[1])["frame"] == 4
    assert "clip_frame4_seg.dcm" in page.get(scans[1], "files/outline.dcm").headers["content-disposition"]


def test_the_frames_of_a_clip_are_summed_up(page: Page, model_folder: Path) -> None:
    clip = np.stack([draw_scan(seed) for seed in range(3)])
    frames, _ = page.add(content(dicom(clip, clip=True)), "clip.dcm"), page.add(png(draw_scan(9)))
    address = f"{page.root}/clips"
    assert page.client.get(address).json() == {"clips": []}
    for frame in frames:
        page.prediction(frame)
        page.prediction(frame, threshold=0.9)  # the summary stays with the model's own
    expected = bcdseg.summarize_clip(bcdseg.load(model_folder).predict(content(dicom(clip, clip=True))))
    (summary,) = page.client.get(address).json()["clips"]
    facts = json.loads(json.dumps(expected.to_dict())) | {"source": "clip.dcm"}
    assert summary == {"clip": frames[0]["clip"]["id"], "name": "clip.dcm", "words": str(expected)} | facts
    page.client.delete(f"{page.root}/scans/{frames[0]['id']}")
    assert "2 frames" in page.client.get(address).json()["clips"][0]["words"]


def test_an_operating_point_calls_the_class(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=64)
    point = OperatingPoint(name="sensitivity 0.95", positive="malignant", threshold=0.0, sensitivity=0.96, scans=90)
    model.rules = replace(model.rules, operating_points=(point,))
    with TestClient(
        create_app(ModelStore([str(model.save(tmp_path / "drawn"))]), limits=LIMITS), base_url=ORIGIN, headers={"origin": ORIGIN}
    ) as client:
        page = Page(client)
        scan = page.add(png(draw_scan(3)))[0]
        plain, called = page.prediction(scan), page.prediction(scan, operating_point=point.name)
        assert plain["points"] == {point.name: str(point)}
        assert plain["operating_point"] is None
        assert (called["label"], called["operating_point"]) == ("malignant", point.name)
        assert called["row"] == plain["row"]  # the table stays with the most probable class
        assert "sensitivity 0.95" in page.get(scan, "prediction", operating_point="none").json()["error"]


def test_a_heat_map_is_made_on_demand(page: Page) -> None:
    scan = page.add(png(draw_scan(8)))[0]
    reply = page.get(scan, "heat.png", explain="benign")
    assert Image.open(io.BytesIO(reply.content)).size == (160, 120)
    assert "choose" in page.get(scan, "heat.png", explain="cyst").json()["error"]


def test_the_table_has_a_row_for_each_scan_read_or_not(page: Page, model_folder: Path) -> None:
    good, bad = page.add(png(draw_scan(9)), "good.png")[0], page.add(b"no image", "bad.png")[0]
    page.prediction(good)
    page.prediction(good, threshold=0.6)  # the table stays with the model's own
    assert page.get(bad, "prediction").status_code == 422
    text = page.client.get(f"{page.root}/table.csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["source"] for row in rows] == ["good.png", "bad.png"]
    assert rows[0]["label"] == _direct(model_folder, draw_scan(9)).label
    assert "is not an image" in rows[1]["error"]
    page.client.delete(f"{page.root}/scans/{bad['id']}")
    assert "bad.png" not in page.client.get(f"{page.root}/table.csv").text


def test_a_name_in_the_table_is_not_a_formula(page: Page) -> None:
    page.prediction(page.add(png(draw_scan(9)), "=cmd()|A1.png")[0])
    rows = csv.DictReader(io.StringIO(page.client.get(f"{page.root}/table.csv").text))
    assert [row["source"] for row in rows] == ["'=cmd()|A1.png"]


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("notes.png", b"plain text", "is not an image"),
        ("empty.png", b"", "empty"),
        ("cut.png", png(draw_scan(1))[:300], "truncated or damaged"),
        ("cut.dcm", b"\0" * 128 + b"DICM" + b"\x02\0", "DICOM"),
        ("small.png", png(np.zeros((4, 4), np.uint8)), "smallest"),
    ],
)
def test_a_bad_file_is_reported(page: Page, name: str, file: bytes, words: str) -> None:
    refused = page.get(page.add(file, name)[0], "prediction")
    assert refused.status_code == 422
    assert name in refused.json()["error"]
    assert words in refused.json()["error"]


def test_too_large_uploads_are_refused_and_stored_scans_stay(page: Page) -> None:
    def send(file: bytes) -> tuple[int, str]:
        reply = page.client.post(f"{page.root}/scans", params={"name": "a.png"}, content=file)
        return reply.status_code, reply.json().get("error", "")

    kept = page.add(png(draw_scan(1)))[0]
    assert send(b"x" * 200_001)[0] == 413
    assert "million pixels" in send(png(np.zeros((600, 600), np.uint8)))[1]
    huge = png(np.zeros((6, 60_000), np.uint8))
    assert send(huge)[0] == 413
    assert send(b"x" * 199_000)[0] == 200
    assert "MB of scans" in send(b"y" * 199_000)[1]
    for _ in range(2):
        assert send(png(draw_scan(1)))[0] == 200
    assert "4 scans at most" in send(png(draw_scan(1)))[1]
    assert page.prediction(kept)["label"]


def test_a_body_without_a_length_is_cut_off_too(page: Page) -> None:
    reply = page.client.post(f"{page.root}/scans", params={"name": "a.png"}, content=iter([b"x" * 150_000] * 3))
    assert reply.status_code == 413


def test_a_page_has_access_to_its_own_scans_only_until_it_is_closed(client: TestClient) -> None:
    one, other = Page(client), Page(client)
    scan = one.add(png(draw_scan(2)))[0]
    assert other.get(scan, "prediction").status_code == 404
    assert one.prediction(scan)["label"]
    client.post(f"{one.root}/close")
    gone = one.get(scan, "prediction")
    assert (gone.status_code, gone.json()["gone"]) == (404, True)
    third, fourth = Page(client), Page(client)
    assert client.get(f"{other.root}/table.csv").status_code == 404  # two pages at most: the oldest gave way
    assert third.add(png(draw_scan(2)))
    assert fourth.add(png(draw_scan(2)))


def test_nothing_of_a_closed_page_stays_in_memory(client: TestClient) -> None:
    def stored() -> list[str]:
        gc.collect()
        things = [thing for thing in gc.get_objects() if type(thing) in (UploadedScan, bcdseg.Prediction)]
        return [name for thing in things if "kept" in (name := thing.name if isinstance(thing, UploadedScan) else thing.source)]

    page = Page(client)
    page.prediction(page.add(png(draw_scan(2)), "kept.png")[0])
    assert sorted(stored()) == ["kept.png", "kept.png"]
    client.post(f"{page.root}/close")
    assert stored() == []


def test_idle_pages_are_closed(model_folder: Path) -> None:
    limits = Limits(idle_seconds=-1)
    with TestClient(
        create_app(ModelStore([str(model_folder)]), limits=limits), base_url=ORIGIN, headers={"origin": ORIGIN}
    ) as client:
        idle = Page(client)
        assert client.post(f"{idle.root}/samples/benign").status_code == 404


def test_a_report_is_shown_in_a_cage(page: Page) -> None:
    report = b"<!doctype html>\n<title>How good</title><script>parent.location = 'http://example.org'</script>"
    assert page.client.post(f"{page.root}/report", content=report).status_code == 204
    shown = page.client.get(f"{page.root}/report.html")
    assert shown.content == report
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    refused = page.client.post(f"{page.root}/report", content=b"{}")
    assert "report.html" in refused.json()["error"]


def test_models_are_offered_and_their_cards_can_be_read(page: Page) -> None:
    assert page.session["models"] == ["drawn", "bus-multi", "busi-lite"]
    card = page.client.get(f"{page.root}/card", params={"model": "drawn"}).json()["html"]
    assert "<h1>drawn</h1>" in card
    assert "not trained" in card
    unknown = page.get(page.add(png(draw_scan(1)))[0], "prediction", model="gpt")
    assert "drawn, bus-multi, busi-lite" in unknown.json()["error"]


def test_markup_in_a_card_stays_text() -> None:
    from bcdseg.app.responses import card_html

    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    model.training = {"limits": "<script>alert(1)</script> ![](http://example.org/x.png) [a](javascript:alert(1))"}
    html = card_html(model)
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html


@pytest.mark.parametrize("name", [".", "..", "../../a.png", "C:\\scans\\a.png", 'a\nb".png', "a.png#3", "\u202eé" * 200])
def test_any_name_will_do(page: Page, name: str) -> None:
    scan = page.add(png(draw_scan(1)), name)[0]
    assert not {"/", "\\"} & set(scan["name"])
    assert page.get(scan, "files/mask.png").headers["content-disposition"].endswith("_mask.png")


@pytest.mark.parametrize("lacking", ["decoder", "head"])
def test_models_that_only_outline_or_only_classify(lacking: str, tmp_path: Path) -> None:
    classes = ["benign", "malignant"] if lacking == "decoder" else []
    parts = {"decoder_channels": (32, 16, 16, 8, 8)} if lacking == "head" else {}
    model = bcdseg.create("plain_cnn", classes=classes, size=32, **{lacking: None}, **parts)
    app = create_app(ModelStore([str(model.save(tmp_path / "part"))]), limits=LIMITS)
    with TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}) as client:
        page = Page(client)
        scan = page.add(png(draw_scan(1)))[0]
        found = page.prediction(scan)
        has_mask = lacking == "head"
        assert (found["edges"] is not None) is has_mask
        assert (found["label"] is None) is has_mask
        assert len(page.get(scan, "levels").content) == (120 * 160 if has_mask else 0)
        assert page.get(scan, "files/mask.png").status_code == (200 if has_mask else 422)
        assert page.get(scan, "heat.png", explain="benign").status_code == (422 if has_mask else 200)
        assert "scan.png" in client.get(f"{page.root}/table.csv").text


@pytest.mark.parametrize("sample", ["normal", "benign", "malignant"])
def test_samples_come_with_the_page(page: Page, sample: str) -> None:
    response = page.client.post(f"{page.root}/samples/{sample}").json()
    assert "scans" in response, response
    scan = response["scans"][0]
    assert scan["name"].startswith(sample)


@contextmanager
def listening(app: Starlette) -> Iterator[int]:
    connections = ConnectionLimits(most=8, head_seconds=30, request_seconds=60)
    server = BoundedServer(app, connections=connections, grace=1, log_config=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


def _replied(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any]]:
    try:
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def _posted(port: int, path: str, body: bytes, sent: int | None = None) -> http.client.HTTPConnection:
    """Send a request with only a part of its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Origin", f"http://127.0.0.1:{port}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:sent])
    return connection


def test_uploads_that_stall_keep_no_other_waiting_and_are_given_up(model_folder: Path) -> None:
    app, scan = create_app(ModelStore([str(model_folder)]), limits=replace(LIMITS, stall_seconds=2)), png(draw_scan(1))
    with listening(app) as port:
        token = _replied(_posted(port, "/api/session", b""))[1]["token"]
        stalled = [_posted(port, f"/api/{token}/scans?name=a.png", scan, sent=100) for _ in range(6)]
        status, arrived = _replied(_posted(port, f"/api/{token}/scans?name=b.png", scan))
        assert (status, arrived["scans"][0]["name"]) == (200, "b.png")
        for status, refused in map(_replied, stalled):
            assert (status, "too long to arrive" in refused["error"]) == (408, True)


def test_idle_connections_do_not_close_the_page(model_folder: Path) -> None:
    with listening(create_app(ModelStore([str(model_folder)]), limits=LIMITS)) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        for one in (*idle, connection):
            one.close()


def test_files_that_arrive_together_are_bounded_together(model_folder: Path) -> None:
    app = create_app(ModelStore([str(model_folder)]), limits=replace(LIMITS, arriving_bytes=1000))
    with TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}) as client:
        page = Page(client)
        for _ in range(2):  # what was refused is not counted any more
            reply = client.post(f"{page.root}/scans", params={"name": "a.png"}, content=png(draw_scan(1)))
            assert (reply.status_code, "at the same time" in reply.json()["error"]) == (503, True)
            assert page.add(png(np.zeros((40, 40), np.uint8)))


@pytest.mark.parametrize("kind", ["RLE", "TIFF", "spacing"])
def test_foreign_exceptions_are_reported(page: Page, kind: str) -> None:
    files = {"RLE": lambda: panicking_rle(draw_scan(1)), "TIFF": far_strips, "spacing": lambda: png(draw_scan(1))}
    reply = page.get(page.add(files[kind](), "odd")[0], "prediction", spacing=1e200 if kind == "spacing" else "")
    assert reply.status_code == 422
    assert {"RLE": "PanicException", "TIFF": "OverflowError", "spacing": "0.001 to 10"}[kind] in reply.json()["error"]


def test_a_file_that_takes_too_long_to_decode_is_refused_and_others_are_read(model_folder: Path) -> None:
    limits = Limits(read_seconds=2)
    with TestClient(
        create_app(ModelStore([str(model_folder)]), limits=limits), base_url=ORIGIN, headers={"origin": ORIGIN}
    ) as client:
        page = Page(client)
        reply = page.get(page.add(endless_jpeg(), "endless.jpg")[0], "prediction")
        assert (reply.status_code, "longer than 2 s" in reply.json()["error"]) == (422, True)
        assert page.prediction(page.add(png(draw_scan(1)))[0])["label"]


def test_an_old_dicom_file_without_its_mark_is_read(page: Page) -> None:
    old = content(dicom(draw_scan(1)))[132:]
    assert page.prediction(page.add(old, "old.dcm")[0])["source"] == "old.dcm"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", ""])
def test_a_foreign_page_can_send_nothing(client: TestClient, origin: str) -> None:
    assert client.post("/api/session", headers={"origin": origin}).status_code == 403


def test_numbers_are_names_only_where_others_are_let_in(model_folder: Path) -> None:
    models = ModelStore([str(model_folder)])
    private, opened = create_app(models), create_app(models, host="0.0.0.0")
    for app, expected in ((private, 403), (opened, 200)):
        assert TestClient(app, base_url="http://192.168.7.7:8765").get("/").status_code == expected
        assert TestClient(app, base_url="http://evil.example").get("/").status_code == 403


def test_the_page_loads_nothing_from_outside_and_accepts_no_foreign_request(client: TestClient) -> None:
    reply = client.get("/")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["referrer-policy"] == "no-referrer"
    static = Path(bcdseg.__file__).parent / "app/static"
    for path in filter(Path.is_file, static.rglob("*")):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path.name
        assert client.get(f"/static/{path.relative_to(static).as_posix()}").content == path.read_bytes()
    for name in ("nothing.js", "review", "review/", "%2e%2e/server.py", "%2fetc/passwd", "review/%2e%2e/main.js"):
        assert client.get(f"/static/{name}").status_code == 404, name


def test_the_page_shows_the_disclaimer() -> None:
    from bcdseg.model.saving import DISCLAIMER

    html = (Path(bcdseg.__file__).parent / "app/static/index.html").read_text(encoding="utf-8")
    assert DISCLAIMER.replace("For research.", "<strong>For research.</strong>") in html


def test_a_mask_is_sent_as_the_starts_and_ends_of_its_runs() -> None:
    from bcdseg.app.responses import edges

    mask = draw_ellipse((20, 30), (10, 15), (5, 8))
    runs = edges(mask)
    assert sum(end - start for start, end in zip(runs[::2], runs[1::2], strict=True)) == mask.sum()
    assert edges(np.zeros((2, 2), bool)) == []
    assert edges(np.ones((2, 2), bool)) == [0, 4]
