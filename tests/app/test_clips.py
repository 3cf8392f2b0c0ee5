"""Clips on the page: the frames that its server offers, their limits, and errors of bad files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from drawn import draw_scan
from made_dicom import IDENTIFIERS, content, dicom
from page_client import ORIGIN, Page, png, save_model
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless
from starlette.testclient import TestClient

import bcdseg
from bcdseg.app.limits import Limits
from bcdseg.app.prediction_cache import ModelStore
from bcdseg.app.server import create_app

LIMITS = Limits(frames=4, scans=6)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return ModelStore([str(save_model(tmp_path_factory.mktemp("models") / "drawn"))])


@pytest.fixture(scope="module")
def client(models: ModelStore) -> Iterator[TestClient]:
    with TestClient(create_app(models, limits=LIMITS), base_url=ORIGIN, headers={"origin": ORIGIN}) as client:
        yield client


@pytest.fixture
def page(client: TestClient) -> Page:
    return Page(client)


def _clip(count: int, **elements: Any) -> bytes:
    return content(dicom(np.stack([draw_scan(seed) for seed in range(count)]), clip=True, **elements))


def _summaries(page: Page) -> list[dict[str, Any]]:
    return page.client.get(f"{page.root}/clips").json()["clips"]


@pytest.mark.parametrize(
    ("count", "every", "numbers"), [(2, 1, [1, 2]), (4, 1, [1, 2, 3, 4]), (5, 2, [1, 3, 5]), (9, 3, [1, 4, 7])]
)
def test_a_clip_has_no_more_frames_than_the_bound_and_states_what_is_left_out(
    page: Page, count: int, every: int, numbers: list[int]
) -> None:
    scans = page.add(_clip(count), "clip.dcm")
    clip = scans[0]["clip"]
    assert [scan["frame"] for scan in scans] == numbers
    assert (clip["frames"], clip["every"], clip["left_out"]) == (count, every, count - len(numbers))


def test_a_single_scan_is_not_a_clip(page: Page) -> None:
    assert set(page.add(png(draw_scan(1)))[0]) == {"id", "name"}
    assert set(page.add(content(dicom(draw_scan(1))), "scan.dcm")[0]) == {"id", "name"}


@pytest.mark.parametrize(
    ("elements", "milliseconds"),
    [
        ({}, 40.0),
        ({"FrameTime": None, "FrameTimeVector": [0, 50, 50]}, 50.0),
        ({"FrameTime": None, "RecommendedDisplayFrameRate": 20}, 50.0),
        ({"FrameTime": 0, "CineRate": 10}, 100.0),
        ({"FrameTime": None}, None),
        ({"FrameTime": -5}, None),
        ({"FrameTime": 1e9}, None),
    ],
)
def test_the_rate_of_a_clip_is_the_files(page: Page, elements: dict[str, Any], milliseconds: float | None) -> None:
    assert page.add(_clip(3, **elements), "clip.dcm")[0]["clip"]["milliseconds"] == milliseconds


def test_the_summary_grows_with_the_frames_that_are_predicted(page: Page) -> None:
    scans = page.add(_clip(3), "clip.dcm")
    assert _summaries(page) == []
    for count, scan in enumerate(scans, 1):
        page.prediction(scan)
        (summary,) = _summaries(page)
        assert summary["clip"] == scan["clip"]["id"]
        assert summary["frames"] == [1, 2, 3][:count]
    assert sum(summary["probabilities"].values()) == pytest.approx(1)
    assert not [secret for secret in IDENTIFIERS if secret in json.dumps([scans, summary])]


def test_the_same_file_opened_twice_is_two_clips(page: Page) -> None:
    file = _clip(2)
    for scan in (*page.add(file, "clip.dcm"), *page.add(file, "clip.dcm")):
        page.prediction(scan)
    assert [summary["frames"] for summary in _summaries(page)] == [[1, 2], [1, 2]]


def test_a_clip_that_does_not_fit_is_refused_as_a_whole(page: Page) -> None:
    page.add(_clip(4), "first.dcm")
    reply = page.client.post(f"{page.root}/scans", params={"name": "second.dcm"}, content=_clip(4))
    assert (reply.status_code, "6 scans at most" in reply.json()["error"]) == (413, True)
    assert page.add(_clip(2), "third.dcm")


def test_a_damaged_frame_is_reported_and_the_others_are_summed_up(page: Page) -> None:
    made = dicom(np.stack([draw_scan(seed) for seed in range(3)]), clip=True)
    made.compress(RLELossless, generate_instance_uid=False)
    frames = list(generate_frames(made.PixelData, number_of_frames=3))
    made.PixelData = encapsulate([frames[0], frames[1][:70], frames[2]])
    scans = page.add(content(made), "clip.dcm")
    statuses = [page.get(scan, "prediction").status_code for scan in scans]
    assert statuses == [200, 422, 200]
    assert "clip.dcm" in page.get(scans[1], "prediction").json()["error"]
    (summary,) = _summaries(page)
    assert (summary["frames"], summary["unread"]) == ([1, 3], 1)


@pytest.mark.parametrize("count", [4, 1_000_000_000])
def test_a_clip_that_declares_more_frames_than_it_has_is_reported(page: Page, count: int) -> None:
    scans = page.add(_clip(3, NumberOfFrames=count), "cut.dcm")
    assert len(scans) == 1
    assert f"declares {count} frames" in page.get(scans[0], "prediction").json()["error"]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"GIF89a", "clip.bin: is a clip (GIF), which isn't read"),
        (b"\x1aE\xdf\xa3", "clip.bin: is a clip (WebM"),
        (b"RIFF\x10\0\0\0AVI LIST", "clip.bin: can't be decoded as a video clip"),
        (b"\0\0\0 ftypisom", "clip.bin: can't be decoded as a video clip"),
    ],
)
def test_a_clip_that_can_not_be_read_is_refused_in_words(page: Page, file: bytes, words: str) -> None:
    reply = page.client.post(f"{page.root}/scans", params={"name": "clip.bin"}, content=file + bytes(200))
    assert (reply.status_code, words in reply.json()["error"]) == (422, True)


def _video(folder: Path, count: int) -> Path:
    """Return a video with lossless compression."""
    cv2 = pytest.importorskip("cv2", reason="opencv, of the extra video, is not installed")
    path = folder / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 20, (160, 120))
    for seed in range(count):
        writer.write(np.repeat(draw_scan(seed)[..., None], 3, axis=2))
    writer.release()
    return path


def test_the_frames_of_a_video_are_predicted_as_the_library_does(page: Page, models: ModelStore, tmp_path: Path) -> None:
    path = _video(tmp_path, 5)
    scans = page.add(path.read_bytes(), "clip.avi")
    assert [(scan["name"], scan["frame"]) for scan in scans] == [("clip.avi#1", 1), ("clip.avi#3", 3), ("clip.avi#5", 5)]
    assert (scans[0]["clip"]["left_out"], scans[0]["clip"]["milliseconds"]) == (2, 50.0)
    expected = list(models.get(models.names[0]).predict(path, frames=2))
    predictions = [page.prediction(scan) for scan in scans]
    for found, prediction in zip(predictions, expected, strict=True):
        assert found["frame"] == prediction.frame
        assert found["probabilities"] == pytest.approx(prediction.probabilities)
    (summary,) = _summaries(page)
    assert (summary["name"], summary["frames"]) == ("clip.avi", [1, 3, 5])
    assert summary["words"] == str(bcdseg.summarize_clip(expected))


def test_a_video_that_is_too_large_is_refused(models: ModelStore, tmp_path: Path) -> None:
    file = _video(tmp_path, 3).read_bytes()
    for limits, words in (({"pixels": 10_000}, "million pixels"), ({"session_bytes": 20_000}, "its frames have more than")):
        app = create_app(models, limits=replace(LIMITS, **limits))
        with TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}) as client:
            reply = client.post(f"{Page(client).root}/scans", params={"name": "clip.avi"}, content=file)
            assert (reply.status_code, words in reply.json()["error"]) == (413, True)


def test_frames_with_too_many_pixels_are_refused(models: ModelStore) -> None:
    app = create_app(models, limits=replace(LIMITS, pixels=10_000))
    with TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}) as client:
        reply = client.post(f"{Page(client).root}/scans", params={"name": "clip.dcm"}, content=_clip(2))
        assert (reply.status_code, "million pixels" in reply.json()["error"]) == (413, True)


def test_a_clip_of_another_page_is_not_shown(client: TestClient, page: Page) -> None:
    page.prediction(page.add(_clip(2), "clip.dcm")[0])
    assert _summaries(Page(client)) == []


def test_others_get_responses_while_a_long_clip_is_predicted(client: TestClient) -> None:
    """Request the frames one after another, as the page does."""
    long, other = Page(client), Page(client)
    scans, done, started = long.add(_clip(4), "clip.dcm"), [], Event()

    def predict() -> None:
        for round_ in range(5):
            for scan in scans:
                long.prediction(scan, threshold=0.3 + 0.05 * round_)
                done.append(scan)
                started.set()

    thread = Thread(target=predict)
    thread.start()
    started.wait()
    assert other.prediction(other.add(png(draw_scan(7)))[0])["label"]
    waited = len(done)
    thread.join()
    assert waited < len(done)
