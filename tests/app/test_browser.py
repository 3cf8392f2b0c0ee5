"""The page in a real browser: Chromium from the system, never one that a tool downloads."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dicom import dicom, save
from PIL import Image
from skimage.measure import grid_points_in_poly

import bcdseg

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("background-networking", "component-update", "sync", "default-apps", "extensions")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", *(f"--disable-{one}" for one in QUIET)]
SCAN = Path(bcdseg.__file__).parent / "app/samples/malignant (30).png"

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a page that `bcdseg app` serves."""
    command = [sys.executable, "-m", "bcdseg", "app", "--no-browser", "--port", "0"]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert app.stdout is not None
    with app.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+/", app.stdout.readline())
        assert found
        yield found.group()
        app.send_signal(signal.SIGINT)
        app.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page of its own, of which nothing may leave the loopback and nothing may go wrong unseen."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(90_000)
    asked: list[str] = []
    wrong: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: message.type == "error" and "422" not in message.text and wrong.append(message.text))
    opened.goto(address)
    opened.wait_for_selector("#samples button")
    yield opened
    context.close()
    assert not [url for url in asked if not url.startswith(address)]
    assert not wrong


DROP = """() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["no image"], "broken.png"));
  for (const kind of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, dataTransfer }));
}"""


def _drawn(page: Any, size: tuple[int, ...]) -> np.ndarray:
    """The pixels whose middle lies inside the line that the page draws."""
    inside = np.zeros(size, bool)
    for ring in page.get_attribute("#marks .line", "d").split("Z")[:-1]:
        points = np.array([point.split()[::-1] for point in ring[1:].split("L")], float)
        inside ^= grid_points_in_poly(size, points - 0.5)
    return inside


def test_upload_see_move_the_slider_download(page: Any) -> None:
    model = bcdseg.load()
    page.set_input_files("#files", SCAN)
    page.wait_for_selector("#marks .line", state="attached")
    before = model.predict(SCAN)
    assert page.inner_text("#verdict").startswith(before.label)
    assert "px" in page.inner_text("#lesions")
    assert (_drawn(page, before.size) == before.mask).all()

    page.focus("#threshold")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    threshold = round(model.rules.threshold + 0.08, 2)
    after = model.predict(SCAN, threshold=threshold)
    assert after.mask is not None
    assert before.mask is not None
    assert after.mask.sum() < before.mask.sum()
    page.wait_for_selector(f"#lesions dd:text-is('{after.lesions[0].area_px} px')")  # measured by the library
    assert (_drawn(page, after.size) == after.mask).all()
    assert page.inner_text("#threshold-value") == f"{100 * threshold:.0f} %"

    page.fill("#spacing", "0,1")
    page.click("#scale button[type=submit]")
    page.wait_for_selector("#lesions h3:has-text('mm')")
    assert "0.1 mm per pixel, given by you" in page.inner_text("#scale-words")

    with page.expect_download() as download:
        page.click("#downloads a:text-is('Mask PNG')")
    assert download.value.suggested_filename == "malignant (30)_mask.png"
    assert (np.asarray(Image.open(download.value.path())) == after.mask).all()
    assert page.get_attribute("#downloads a:text-is('DICOM-SEG')", "aria-disabled") == "true"


def test_a_dropped_bad_file_a_batch_and_a_report_on_a_phone(page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    bad, report = tmp_path / "broken.png", tmp_path / "report.html"
    bad.write_bytes(b"no image")
    report.write_text("<!doctype html><title>made</title><h1>How good</h1>")
    page.evaluate(DROP)
    page.wait_for_selector("#problem:has-text('broken.png: is not an image')")
    assert page.is_visible("#welcome")

    page.set_input_files("#files", [SCAN, *sorted(set(SCAN.parent.glob("*.png")) - {SCAN}), bad])
    page.wait_for_selector("#table-body tr:nth-child(4) .unread")
    page.wait_for_selector("#batch-progress", state="hidden")
    page.click("#table-head button:text-is('Scan')")
    names = page.locator("#table-body th").all_inner_texts()
    assert names == sorted(names)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.is_visible("text=Not a medical device")
    with page.expect_download() as download:
        page.click("#csv")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert sorted(row["source"] for row in rows) == names
    page.click("#table-body th button:text-is('malignant (30).png')")
    page.wait_for_selector("#marks .line", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.focus("#tab-scan")
    page.keyboard.press("ArrowLeft")
    page.set_input_files("#report-file", report)
    page.frame_locator("#report").get_by_text("How good").wait_for()


def test_a_clip_is_summed_up_above_its_frames(page: Any, tmp_path: Path) -> None:
    scan = np.array(Image.open(SCAN).convert("L"))
    file = save(dicom(np.stack([scan, scan, np.zeros_like(scan)]), clip=True), tmp_path / "clip.dcm")
    page.set_input_files("#files", file)
    page.wait_for_selector("#clips li")
    assert page.inner_text("#clips li") == f"clip.dcm {bcdseg.summarize_clip(bcdseg.load().predict(file))}"
    page.click("#clear")
    page.wait_for_selector("#clips", state="hidden")
