"""Corrections: reviews are saved immediately as a data set, and nothing of them is lost."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from drawn import draw_ellipse, draw_scan
from made_dicom import IDENTIFIERS, content, dicom, region
from page_client import ORIGIN, Page, png, save_model
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

import bcdseg
from bcdseg.app.limits import Limits
from bcdseg.app.prediction_cache import ModelStore
from bcdseg.app.responses import edges
from bcdseg.app.reviews.corrections import Corrections
from bcdseg.app.server import create_app
from bcdseg.cli import app
from bcdseg.data.masks import dice

MASK = draw_ellipse((120, 160), (60, 70), (20, 30))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = tmp_path_factory.mktemp("models")
    return ModelStore([str(save_model(folder / name)) for name in ("drawn", "other")])


@pytest.fixture
def start(models: ModelStore, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Start a server of its own on the folder of corrections, and open its page."""
    with ExitStack() as stack:

        def started(folder: Path | None = tmp_path / "corrections", **options: Any) -> Page:
            limits = options.pop("limits", Limits())
            store = None if folder is None else Corrections(folder, most_bytes=limits.corrections_bytes)
            server = create_app(models, limits=limits, corrections=store, **options)
            return Page(stack.enter_context(TestClient(server, base_url=ORIGIN, headers={"origin": ORIGIN})))

        yield started


def _review(page: Page, scan: dict[str, str], mask: np.ndarray | None = None, **fields: object) -> Any:
    review = {"reader": "A. Lee", "edges": None if mask is None else edges(mask), **fields}
    return page.client.put(f"{page.root}/scans/{scan['id']}/review", json=review)


def _rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "corrections.csv").read_text())))


def test_a_correction_is_a_sample_with_its_reader_time_and_model(start: Callable[..., Page], tmp_path: Path) -> None:
    page, pixels = start(reader="A. Lee"), draw_scan(3)
    assert (page.session["corrections"], page.session["reader"]) == (str(tmp_path / "corrections"), "A. Lee")
    scan = page.add(png(pixels), "my scan.png")[0]
    predicted = page.prediction(scan, spacing=0.2)
    reply = _review(page, scan, MASK, verdict="accepted", label="malignant")
    assert reply.status_code == 200, reply.text

    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    (sample,) = dataset
    read, mask = dataset.read(sample)
    assert (read == pixels).all()
    assert (mask == MASK).all()
    assert sample.label == "malignant"
    facts = sample.facts
    assert facts["reader"] == "A. Lee"
    assert facts["source"] == "my scan.png"
    assert (facts["verdict"], facts["outline"]) == ("accepted", "corrected")
    assert (facts["predicted_by"], facts["predicted_label"]) == ("drawn", predicted["label"])
    assert len(str(facts["model_hash"])) == 32
    assert str(facts["saved"]).startswith("20")


def test_the_library_measures_what_was_drawn(start: Callable[..., Page], models: ModelStore) -> None:
    page, pixels = start(), draw_scan(3)
    scan = page.add(png(pixels))[0]
    reply = page.client.put(
        f"{page.root}/scans/{scan['id']}/review", params={"spacing": 0.2}, json={"reader": "A. Lee", "edges": edges(MASK)}
    ).json()
    assert reply["edges"] == edges(MASK)
    (lesion,) = reply["lesions"]
    assert lesion["area_px"] == MASK.sum()
    assert lesion["area_mm2"] == pytest.approx(MASK.sum() * 0.04)
    assert lesion["long_axis_mm"] == pytest.approx(60 * 0.2, rel=0.02)
    assert reply["dice"] == pytest.approx(dice(MASK, models.get().predict(pixels).mask))


def test_each_area_of_a_scan_has_its_own_scale(start: Callable[..., Page], tmp_path: Path) -> None:
    page, left, right = start(), (0, 0, 120, 160), (0, 160, 120, 320)
    pixels = np.hstack([draw_scan(3), draw_scan(4)])
    file = content(dicom(pixels, region(left, (0.01, 0.01)), region(right, (-0.02, 0.02))))
    scan = page.add(file, "two.dcm")[0]
    both = np.hstack([MASK, MASK])
    assert page.prediction(scan)["areas"] == [
        {"box": [*left], "spacing_mm": [0.1, 0.1]},
        {"box": [*right], "spacing_mm": [0.2, 0.2]},
    ]
    larger, smaller = _review(page, scan, both).json()["lesions"]
    assert (larger["box"][1] > 160, larger["long_axis_mm"]) == (True, pytest.approx(12, rel=0.02))
    assert smaller["long_axis_mm"] == pytest.approx(6, rel=0.02)
    assert larger["descriptors"]["posterior"] is None  # its depth grows upwards
    assert smaller["descriptors"]["posterior"] == "no posterior features"
    (row,) = _rows(tmp_path / "corrections")
    assert row["spacing"] == ""  # neither is right for the whole scan


def test_a_class_and_an_outline_that_contradict_each_other_are_reported(start: Callable[..., Page]) -> None:
    page = start()
    scan, empty = page.add(png(draw_scan(3)))[0], np.zeros_like(MASK)
    cases = [(MASK, "normal"), (empty, "benign")]
    replies = [_review(page, scan, mask, verdict="accepted", label=label).json() for mask, label in cases]
    assert [reply["contradiction"].partition(":")[0] for reply in replies] == [
        "A lesion is outlined, but the class is normal",
        "The class is benign, but no lesion is outlined",
    ]
    assert page.get(scan, "reviews").json()["reviews"][0]["contradiction"] == replies[1]["contradiction"]
    for fields in ({"verdict": "accepted", "label": "benign"}, {"verdict": "rejected", "label": "normal"}, {}):
        assert _review(page, scan, MASK, **fields).json()["contradiction"] is None


def test_corrections_survive_the_page_and_the_server(start: Callable[..., Page]) -> None:
    page = start()
    _review(page, page.add(png(draw_scan(3)))[0], MASK, verdict="uncertain", label="benign")
    page.client.post(f"{page.root}/close")
    for later in (Page(page.client), start()):
        again = later.add(png(draw_scan(3)), "renamed.png")[0]
        (shown,) = later.get(again, "reviews").json()["reviews"]
        assert shown["edges"] == edges(MASK)
        assert (shown["verdict"], shown["label"], shown["reader"], shown["revision"]) == ("uncertain", "benign", "A. Lee", 1)
        assert later.get(later.add(png(draw_scan(4)))[0], "reviews").json() == {"reviews": []}


def test_the_next_server_completes_the_review_of_a_killed_one(start: Callable[..., Page], tmp_path: Path) -> None:
    page, folder = start(), tmp_path / "corrections"
    scan = page.add(png(draw_scan(3)))[0]
    first = _review(page, scan, MASK).json()
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    assert _review(page, scan, np.roll(MASK, 5, axis=0), revision=first["revision"]).status_code == 200
    finished = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    (outline,) = (path for path in before if path not in finished)
    (folder / outline).write_bytes(before[outline])  # killed after the review, before table and clean-up
    (folder / "corrections.csv").write_bytes(before[Path("corrections.csv")])
    started = outline.with_name(outline.name.replace(".1.png", ".3.png"))  # and another time before the review
    for path in (started, Path("files") / f"{'0' * 32}.png", Path("files") / ".x.png-0.bcdseg-part"):
        (folder / path).write_bytes(before[outline])
    start()
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} == finished


def test_only_what_a_reader_confirmed_is_ground_truth(start: Callable[..., Page], tmp_path: Path) -> None:
    page = start()
    cases: list[tuple[dict[str, Any], bool, str | None]] = [
        ({"verdict": "accepted"}, True, "the model's"),
        ({"verdict": "accepted", "label": "benign"}, True, "benign"),
        ({"mask": MASK}, True, None),
        ({"label": "benign"}, False, "benign"),
        ({"mask": MASK, "label": "benign", "verdict": "rejected"}, False, None),
        ({"mask": MASK, "label": "benign", "verdict": "uncertain"}, False, None),
    ]
    expected = {}
    for seed, (fields, has_mask, label) in enumerate(cases):
        scan = page.add(png(draw_scan(seed)), f"{seed}.png")[0]
        predicted = page.prediction(scan)
        assert _review(page, scan, **fields).status_code == 200
        expected[f"{seed}.png"] = has_mask, predicted["label"] if label == "the model's" else label
    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    assert {sample.facts["source"]: (bool(sample.masks), sample.label) for sample in dataset} == expected


def test_an_accepted_outline_is_the_one_at_the_displayed_threshold(
    start: Callable[..., Page], models: ModelStore, tmp_path: Path
) -> None:
    page, pixels = start(), draw_scan(5)
    scan = page.add(png(pixels))[0]
    page.client.put(
        f"{page.root}/scans/{scan['id']}/review", params={"threshold": 0.55}, json={"reader": "A", "verdict": "accepted"}
    )
    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    assert (dataset.read(dataset[0])[1] == models.get().predict(pixels, threshold=0.55).mask).all()
    assert dataset[0].facts["outline"] == "as predicted"


def test_what_a_reader_accepted_stays_that_of_its_model(start: Callable[..., Page], tmp_path: Path) -> None:
    page, folder = start(), tmp_path / "corrections"
    scan = page.add(png(draw_scan(5)))[0]
    path, revision = f"{page.root}/scans/{scan['id']}/review", 0

    def saved(model: str, mask: Any = None, **fields: Any) -> dict[str, str]:
        nonlocal revision
        body = {"reader": "A", "revision": revision, "edges": mask, **fields}
        revision = page.client.put(path, params={"model": model, "threshold": thresholds[model]}, json=body).json()["revision"]
        (row,) = _rows(folder)
        return {name.removeprefix("fact:"): value for name, value in row.items()}

    thresholds = {"drawn": 0.55, "other": 0.45}
    accepted = saved("drawn", verdict="accepted")
    assert (accepted["predicted_by"], accepted["outlined_by"], accepted["threshold"]) == ("drawn", "drawn", "0.55")
    outline = page.get(scan, "reviews").json()["reviews"][0]["edges"]

    later = saved("other", outline, verdict="accepted")
    assert {**later, "mask": "", "saved": ""} == {**accepted, "mask": "", "saved": ""}
    class_of_other = saved("other", outline, verdict="accepted", label="benign")
    assert (class_of_other["predicted_by"], class_of_other["outlined_by"]) == ("other", "drawn")
    assert (class_of_other["outline"], class_of_other["threshold"]) == ("as predicted", "0.55")
    drawn = saved("other", edges(MASK), verdict="accepted", label="benign")
    assert (drawn["outline"], drawn["outlined_by"]) == ("corrected", "drawn")

    saved("other")  # withdrawn: the outline of the displayed model again
    both = saved("other", verdict="accepted")
    assert (both["predicted_by"], both["outlined_by"], both["threshold"]) == ("other", "other", "0.45")
    saved("drawn", verdict="rejected")
    rejected = saved("other", verdict="rejected", label="benign")
    assert (rejected["predicted_by"], rejected["outlined_by"]) == ("other", "drawn")


def test_reviews_of_an_earlier_version_name_one_model(start: Callable[..., Page], tmp_path: Path) -> None:
    page, folder = start(), tmp_path / "corrections"
    scan = page.add(png(draw_scan(3)))[0]
    _review(page, scan, verdict="accepted")
    (review,) = (folder / "files").glob("*.json")
    fields = json.loads(review.read_text())
    del fields["outlined_by"], fields["outline_model_hash"]
    review.write_text(json.dumps(fields))
    start()
    assert _rows(folder)[0]["fact:outlined_by"] == "drawn"


def test_an_outline_that_was_erased_is_an_empty_mask_and_not_a_missing_one(start: Callable[..., Page], tmp_path: Path) -> None:
    page = start()
    scan = page.add(png(draw_scan(3)))[0]
    _review(page, scan, np.zeros_like(MASK), verdict="accepted", label="normal")
    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    mask = dataset.read(dataset[0])[1]
    assert mask is not None
    assert not mask.any()


def test_each_reader_has_a_row_and_an_outline(start: Callable[..., Page], tmp_path: Path) -> None:
    one, other = start(), start()  # two servers on the same folder
    other_mask = np.roll(MASK, 9, axis=1)
    for page, reader, mask in ((one, "A. Lee", MASK), (other, "a-lee", other_mask), (one, "A. Lee", MASK)):
        scan = page.add(png(draw_scan(3)))[0]
        reply = _review(page, scan, mask, reader=reader, revision=0 if page is other else 1)
        assert reply.status_code == 200
    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    masks = {sample.facts["reader"]: dataset.read(sample)[1] for sample in dataset}
    assert masks.keys() == {"A. Lee", "a-lee"}
    assert (masks["A. Lee"] == MASK).all()
    assert (masks["a-lee"] == other_mask).all()
    assert len({sample.group for sample in dataset}) == 1  # a split never divides them


def test_what_another_window_saved_is_kept(start: Callable[..., Page], tmp_path: Path) -> None:
    page = start()
    scan = page.add(png(draw_scan(3)))[0]
    first = _review(page, scan, MASK).json()
    second = _review(page, scan, np.roll(MASK, 5, axis=0), revision=first["revision"]).json()
    assert (first["kept"], second["kept"]) == (False, False)
    late = _review(page, scan, np.roll(MASK, 9, axis=0), revision=first["revision"]).json()  # it has not seen the second
    assert late["kept"] is True
    files = tmp_path / "corrections" / "files"
    (earlier,) = files.glob("*.2.json")
    kept = np.asarray(Image.open(files / json.loads(earlier.read_text())["mask"]))
    assert (kept == np.roll(MASK, 5, axis=0)).all()
    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    assert (dataset.read(dataset[0])[1] == np.roll(MASK, 9, axis=0)).all()
    assert len(list(files.glob("*.png"))) == 3  # the scan, and two outlines: the first was seen by the window that replaced it


def test_a_batch_is_whole_while_another_window_saves(
    start: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = start()
    scan = page.add(png(draw_scan(3)), "scan.png")[0]
    _review(page, scan, MASK, verdict="accepted")
    contents = Corrections.contents

    def saved_meanwhile(corrections: Corrections, *arguments: Any) -> Any:
        found = contents(corrections, *arguments)
        assert _review(page, scan, ~MASK, verdict="accepted", revision=1).status_code == 200
        return found

    monkeypatch.setattr(Corrections, "contents", saved_meanwhile)
    with ZipFile(io.BytesIO(page.client.get(f"{page.root}/batch.zip").content)) as batch:
        batch.extractall(tmp_path / "batch")
    dataset = bcdseg.open_dataset(tmp_path / "batch" / "corrections")
    assert (dataset.read(next(iter(dataset)))[1] == MASK).all()


def test_the_frames_of_a_clip_are_one_group_and_carry_no_patient(start: Callable[..., Page], tmp_path: Path) -> None:
    page = start()
    clip = np.stack([draw_scan(seed) for seed in range(3)])
    file = content(dicom(clip, region((0, 0, 120, 160), (0.02, 0.02)), clip=True))
    for frame in page.add(file, "clip.dcm"):
        assert _review(page, frame, MASK, verdict="accepted").status_code == 200
    dataset = bcdseg.open_dataset(tmp_path / "corrections")
    assert sorted(sample.facts["frame"] for sample in dataset) == [1, 2, 3]
    assert {sample.spacing for sample in dataset} == {(0.2, 0.2)}
    assert len({sample.group for sample in dataset}) == 1
    for path in (tmp_path / "corrections").rglob("*.*"):
        assert not [secret for secret in IDENTIFIERS if secret.encode() in path.read_bytes()]


BAD = (
    (b"{", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"[]", "fields"),
    (b'{"reader": "A", "file": "/etc/passwd"}', "fields"),
    (b'{"reader": ""}', "reader's name"),
    (b'{"reader": "a\\u0000b"}', "reader's name"),
    (b'{"reader": "A", "verdict": "perhaps"}', "verdict"),
    (b'{"reader": "A", "label": ["benign"]}', "label"),
    (b'{"reader": "A", "label": "cyst"}', "label"),
    (b'{"reader": "A", "revision": -1}', "revision"),
    (b'{"reader": "A", "edges": [5]}', "outline"),
    (b'{"reader": "A", "edges": [5, 5]}', "outline"),
    (b'{"reader": "A", "edges": [true, 9]}', "outline"),
    (b'{"reader": "A", "edges": [0, 19201]}', "outline"),
    (b'{"reader": "A", "edges": [-1, 9]}', "outline"),
    (b'{"reader": "A", "edges": {"0": 1}}', "outline"),
)


def test_a_bad_review_is_refused_in_words(start: Callable[..., Page], tmp_path: Path) -> None:
    page = start()
    path = f"{page.root}/scans/{page.add(png(draw_scan(1)))[0]['id']}/review"
    for body, words in BAD:
        reply = page.client.put(path, content=body)
        assert reply.status_code == 422, body
        assert words in reply.json()["error"], body
    assert not (tmp_path / "corrections").exists()


def test_any_printable_name_of_a_reader_stays_in_the_folder(start: Callable[..., Page], tmp_path: Path) -> None:
    page, names = start(), ["../../outside", "/etc/passwd", "con", "\u00e9" * 80, "a.b", " Lee "]
    scan = page.add(png(draw_scan(1)))[0]
    for name in names:
        assert _review(page, scan, MASK, reader=name).json()["reader"] == name.strip()
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} == {"corrections"}
    readers = [sample.facts["reader"] for sample in bcdseg.open_dataset(tmp_path / "corrections")]
    assert readers == [name.strip() for name in names]


def test_reviews_are_bounded_and_belong_to_their_page(start: Callable[..., Page], tmp_path: Path) -> None:
    page = start(limits=replace(Limits(), review_bytes=300, corrections_bytes=30_000))
    scan = page.add(png(draw_scan(1)))[0]
    path = f"{page.root}/scans/{scan['id']}/review"
    assert page.client.put(path, content=b" " * 301).status_code == 413
    assert page.client.put(path, json={"reader": "A"}, headers={"origin": "http://evil.example"}).status_code == 403
    assert page.client.put(path.replace(page.root, f"/api/{'0' * 32}"), json={"reader": "A"}).status_code == 404
    assert not (tmp_path / "corrections").exists()
    replies = [_review(page, page.add(png(draw_scan(seed)))[0], verdict="accepted") for seed in range(3)]
    assert [reply.status_code for reply in replies] == [200, 413, 413]
    assert "the most for corrections" in replies[1].json()["error"]


def test_without_a_folder_nothing_is_saved(start: Callable[..., Page], tmp_path: Path) -> None:
    page = start(None)
    assert page.session["corrections"] is None
    reply = _review(page, page.add(png(draw_scan(1)))[0], MASK)
    assert (reply.status_code, "--corrections" in reply.json()["error"]) == (422, True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_is_refused_and_a_damaged_review_is_named(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(bcdseg.errors.OptionError, match="not corrections"):
        Corrections(tmp_path, most_bytes=1)
    files = tmp_path / "damaged" / "files"
    files.mkdir(parents=True)
    (files / f"{'0' * 32}.lee-00.json").write_text("{}")
    with pytest.raises(bcdseg.errors.InputError, match=r"lee-00\.json"):
        Corrections(tmp_path / "damaged", most_bytes=1)


@pytest.mark.slow
def test_a_model_learns_from_corrections(start: Callable[..., Page], models: ModelStore, tmp_path: Path) -> None:
    page = start()
    for seed in range(12):
        scan = page.add(png(draw_scan(seed)), f"{seed}.png")[0]
        mask = draw_ellipse((120, 160), (50 + seed, 60), (20, 25)) if seed % 3 else np.zeros_like(MASK)
        assert _review(page, scan, mask, verdict="accepted", label=models.get().classes[seed % 3]).status_code == 200
    twice, rejected = page.add(png(draw_scan(1)))[0], page.add(png(draw_scan(20)))[0]
    _review(page, twice, MASK, reader="B. Kim", verdict="accepted", label="malignant")
    _review(page, rejected, MASK, verdict="rejected")
    model, out = models.get().save(tmp_path / "drawn"), tmp_path / "run"
    command = [
        "train",
        str(tmp_path / "corrections"),
        "--model",
        str(model),
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--out",
        str(out),
    ]
    done = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert bcdseg.load(out / "model").predict(draw_scan(1)).label in models.get().classes
