"""Ground truth, a second model, a batch as ZIP, and which scan to review first."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_ellipse, draw_scan
from page_client import ORIGIN, Page, png, save_model
from starlette.testclient import TestClient

import bcdseg
from bcdseg.app.limits import Limits
from bcdseg.app.prediction_cache import ModelStore
from bcdseg.app.responses import edges
from bcdseg.app.reviews.corrections import Corrections
from bcdseg.app.reviews.review import priority
from bcdseg.app.server import create_app
from bcdseg.data.masks import dice
from bcdseg.types import Flag

MASK = draw_ellipse((120, 160), (60, 70), (20, 30))
LIMITS = Limits(file_bytes=200_000, pixels=300_000, session_bytes=300_000)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    import torch

    folder = tmp_path_factory.mktemp("models")
    first = save_model(folder / "drawn")
    torch.manual_seed(7)
    other = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32, decoder_channels=(32, 16, 16, 8, 8))
    return ModelStore([str(first), str(other.save(folder / "other"))])


@pytest.fixture(scope="module")
def client(models: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    corrections = Corrections(tmp_path_factory.mktemp("work") / "corrections", most_bytes=10**9)
    app = create_app(models, limits=LIMITS, corrections=corrections)
    with TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}) as client:
        yield client


@pytest.fixture
def page(client: TestClient) -> Page:
    return Page(client)


def test_the_ground_truth_is_the_union_of_its_mask_files_and_compared_by_dice(page: Page, models: ModelStore) -> None:
    pixels, second = draw_scan(3), np.roll(MASK, 40, axis=1)
    scan = page.add(png(pixels))[0]
    path = f"{page.root}/scans/{scan['id']}/truth"
    assert page.get(scan, "truth").json()["edges"] is None
    for number, mask in enumerate((MASK, second)):
        reply = page.client.post(path, params={"name": f"scan_mask_{number}.png"}, content=png(mask))
        assert reply.status_code == 200, reply.text
    shown = page.get(scan, "truth").json()
    assert shown["edges"] == edges(MASK | second)
    assert shown["dice"] == pytest.approx(dice(MASK | second, models.get().predict(pixels).mask))
    page.client.delete(f"{page.root}/scans/{scan['id']}")
    assert page.get(scan, "truth").status_code == 404


def test_a_mask_that_does_not_fit_or_is_too_much_is_refused(page: Page) -> None:
    scan = page.add(png(draw_scan(3)))[0]
    path = f"{page.root}/scans/{scan['id']}/truth"
    for content, status, words in (
        (png(MASK[:60]), 422, "60x160"),
        (b"no image", 422, "m.png"),
        (png(np.zeros((600, 600), np.uint8)), 422, "pixels"),
        (b"x" * 200_001, 413, "million bytes"),
    ):
        reply = page.client.post(path, params={"name": "m.png"}, content=content)
        assert (reply.status_code, words in reply.json()["error"]) == (status, True), reply.text
    assert page.client.post(path, content=png(MASK), headers={"origin": "null"}).status_code == 403
    assert page.get(scan, "truth").json()["edges"] is None


def test_a_second_model_is_compared_at_its_own_threshold(page: Page, models: ModelStore) -> None:
    pixels = draw_scan(4)
    scan = page.add(png(pixels))[0]
    shown = page.get(scan, "second", model="drawn", threshold=0.55, second="other").json()
    first, second = models.get("drawn").predict(pixels, threshold=0.55), models.get("other").predict(pixels)
    assert (shown["model"], shown["label"], shown["edges"]) == ("other", second.label, edges(second.mask))
    assert shown["same_label"] is (first.label == second.label)
    assert shown["dice"] == pytest.approx(dice(first.mask, second.mask))
    assert "choose one of" in page.get(scan, "second", second="gpt").json()["error"]


def test_a_batch_is_a_zip_of_masks_overlays_table_and_corrections(page: Page, models: ModelStore, tmp_path: Path) -> None:
    first, _ = page.add(png(draw_scan(5)), "a.png")[0], page.add(png(draw_scan(6)), "a.png")
    page.add(png(draw_scan(5)), "A.png")  # the same file on some systems
    page.add(b"no image", "bad.png")
    review = {"reader": "A. Lee", "edges": edges(MASK), "verdict": "accepted"}
    assert page.client.put(f"{page.root}/scans/{first['id']}/review", json=review).status_code == 200
    reply = page.client.get(f"{page.root}/batch.zip")
    assert reply.headers["content-disposition"] == 'attachment; filename="batch.zip"'
    with zipfile.ZipFile(io.BytesIO(reply.content)) as file:
        assert file.testzip() is None
        file.extractall(tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png") if "corrections" not in path.parts}
    assert names == {f"{kind}s/{name}_{kind}.png" for kind in ("mask", "overlay") for name in ("a", "a_2", "A_3")}
    models.get().predict(draw_scan(6)).save(tmp_path / "direct", name="a_2")
    for kind in ("mask", "overlay"):
        assert (tmp_path / f"{kind}s" / f"a_2_{kind}.png").read_bytes() == (tmp_path / "direct" / f"a_2_{kind}.png").read_bytes()
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert [row["source"] for row in rows] == ["a.png", "a_2.png", "A_3.png", "bad.png"]
    assert "is not an image" in rows[3]["error"]
    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    assert (dataset.read(dataset[0])[1] == MASK).all()
    assert len(dataset) == 1
    assert page.client.get(f"{page.root}/batch.zip", params={"model": "gpt"}).status_code == 422


def test_the_contradictory_come_first_and_then_the_uncertain(models: ModelStore) -> None:
    model = models.get()
    rules, model.rules = model.rules, replace(model.rules, presence_threshold=0.2)
    plain = replace(model.predict(draw_scan(1)), flags=())

    def score(normal: float, benign: float, malignant: float, *flags: Flag) -> float:
        shares = {"normal": normal, "benign": benign, "malignant": malignant}
        return priority(replace(plain, probabilities=shares, flags=flags), model).score

    contradictory = score(0, 1, 0, Flag("no-outline", ""))
    uncertain, at_threshold, clear, clearly_normal = score(0, 0.5, 0.5), score(0.8, 0.2, 0), score(0, 0.02, 0.98), score(1, 0, 0)
    model.rules = rules
    assert contradictory > at_threshold > uncertain > clear > clearly_normal == 0
    assert at_threshold == pytest.approx(1)
    assert uncertain == pytest.approx(np.log(2) / np.log(3))


def test_scans_unlike_the_training_scans_come_before_usual_ones(models: ModelStore) -> None:
    model = models.get()
    sure = replace(model.predict(draw_scan(1)), flags=(), probabilities={"normal": 1.0, "benign": 0.0, "malignant": 0.0})
    found = [priority(replace(sure, ood_score=score), model) for score in (None, 0.4, 0.75, 1.0, 30.0)]
    assert [one.score for one in found] == [0, 0, 0.5, 1, 1]
    assert [bool(one.reasons) for one in found] == [False, False, True, True, True]


def test_each_prediction_has_its_priority_with_reasons(page: Page) -> None:
    found = page.prediction(page.add(png(draw_scan(1)))[0])["priority"]
    assert 0 <= found["score"] <= 2
    assert "the class is uncertain" in found["reasons"]  # the model is not trained
