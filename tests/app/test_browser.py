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
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dicom import dicom, save
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless
from skimage.measure import grid_points_in_poly

import bcdseg

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("background-networking", "component-update", "sync", "default-apps", "extensions")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", *(f"--disable-{one}" for one in QUIET)]
AXE = Path(__file__).parent / "page_tools/node_modules/axe-core/axe.min.js"
SCAN = Path(bcdseg.__file__).parent / "app/samples/malignant (30).png"

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium"),
]


@contextmanager
def _serving(corrections: Path, end: signal.Signals = signal.SIGINT) -> Iterator[str]:
    """Start `bcdseg app`, yield the address of its page, and end it by a signal."""
    command = [sys.executable, "-m", "bcdseg", "app", "--no-browser", "--port", "0", "--reader", "A. Lee"]
    command += ["--corrections", str(corrections)]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert app.stdout is not None
    with app.stdout:
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+/", app.stdout.readline())
            assert found
            yield found.group()
        finally:
            app.send_signal(end)
            app.wait(60)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _serving(tmp_path_factory.mktemp("page") / "corrections") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@contextmanager
def _opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """Open a page; any request beyond the loopback and any error in the console fails the test."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    opened = context.new_page()
    opened.set_default_timeout(300_000)
    requests: list[str] = []
    wrong: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: message.type == "error" and "422" not in message.text and wrong.append(message.text))
    opened.goto(address)
    opened.wait_for_selector("#samples button")
    yield opened
    context.close()
    assert not [url for url in requests if not url.removeprefix("blob:").startswith(address)]
    assert not wrong


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with _opened(browser, address) as opened:
        yield opened


DROP = """() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["no image"], "broken.png"));
  for (const kind of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, dataTransfer }));
}"""


def _drawn(page: Any, size: tuple[int, ...]) -> np.ndarray:
    """Return the pixels whose middle is inside the line that the page draws."""
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


def _save_clip(path: Path) -> Path:
    """Write a clip whose middle frame is the scan; the others are parts of it, and the last one is black."""
    scan = np.array(Image.open(SCAN).convert("L"))
    moved = [np.roll(scan, step, axis=1) for step in (-60, 0, 60)]
    return save(dicom(np.stack([*moved, np.zeros_like(scan)]), clip=True, FrameTime=50), path)


def test_a_clip_is_summed_up_above_its_frames(page: Any, tmp_path: Path) -> None:
    file = _save_clip(tmp_path / "clip.dcm")
    page.set_input_files("#batch-files", file)
    page.wait_for_selector("#clips li")
    assert page.inner_text("#clips li") == f"clip.dcm {bcdseg.summarize_clip(bcdseg.load().predict(file))}"
    page.click("#clear")
    page.wait_for_selector("#clips", state="hidden")


def test_a_clip_is_played_with_its_outlines_and_its_key_frame_is_proposed(page: Any, tmp_path: Path) -> None:
    file = _save_clip(tmp_path / "clip.dcm")
    frames = list(bcdseg.load().predict(file))
    summary = bcdseg.summarize_clip(frames)
    key = summary.largest_frame
    page.set_input_files("#files", file)
    page.wait_for_selector("#player:has-text('All 4 frames are used. Recorded with 20 frames per second.')")
    page.wait_for_selector(f"#to-key:text-is('Key frame {key}')")
    page.wait_for_selector("#clip-progress:empty", state="attached")
    assert page.inner_text("#clip-label").startswith(f"{summary.label} at {100 * summary.probabilities[summary.label]:.0f} %")
    assert f"{round(4 * summary.outlined_share)} ({100 * summary.outlined_share:.0f} %)" in page.inner_text("#clip-facts")
    assert page.locator("#frame-marks .key-frame").count() == 1
    assert f"Proposed key frame: {key}." in page.inner_text("#status")

    def opened(number: int) -> None:
        page.wait_for_selector(f"#scan-name:text-is('clip.dcm#{number}')")
        page.wait_for_selector("#panel:not([inert])")
        assert page.get_attribute("#frame-at", "aria-valuetext").startswith(f"Frame {number} of 4")
        assert page.inner_text("#verdict").startswith(frames[number - 1].label)
        assert (_drawn(page, frames[number - 1].size) == frames[number - 1].mask).all()

    page.click("#to-key")
    opened(key)
    page.keyboard.press("f")
    opened(key % 4 + 1)
    page.keyboard.press("d")
    opened(key)
    page.focus("#frame-at")
    page.keyboard.press("Home")
    opened(1)
    page.select_option("#speed", "0.25")
    page.focus("#frame")
    page.keyboard.press(" ")
    for number in (2, 3, 4, 1):  # after the last frame the first follows
        page.wait_for_selector(f"#frame-words:text-is('Frame {number} of 4')")
    assert page.inner_text("#play") == "Pause"
    assert page.is_hidden("#panel")  # no number of another frame next to this one
    page.keyboard.press("a")  # a verdict while the clip is played would be that of another frame
    page.keyboard.press(" ")
    page.wait_for_selector("#panel:not([inert])")
    opened(int(page.inner_text("#scan-name").rpartition("#")[2]))
    assert page.locator("#accepted[aria-pressed=true]").count() == 0
    page.click("#close-scan")
    page.wait_for_selector("#welcome")
    assert page.is_hidden("#player")


def test_a_clip_is_played_before_all_its_frames_are_predicted_and_without_those_that_are_damaged(page: Any, tmp_path: Path) -> None:
    made = dicom(np.stack([np.array(Image.open(SCAN).convert("L"))] * 3), clip=True)
    made.compress(RLELossless, generate_instance_uid=False)
    pieces = list(generate_frames(made.PixelData, number_of_frames=3))
    made.PixelData = encapsulate([pieces[0][:70], pieces[1], pieces[2]])
    page.set_input_files("#files", save(made, tmp_path / "damaged.dcm"))
    page.wait_for_selector("#problem:has-text('damaged.dcm')")
    page.click("#play")
    for number in (3, 2, 3):
        page.wait_for_selector(f"#frame-words:text-is('Frame {number} of 3')")
    page.wait_for_selector("#clip-facts:has-text('Not read')")
    assert page.locator("#frame-marks .unread").count() == 1
    page.set_input_files("#more-files", SCAN)
    page.wait_for_selector("#panel:not([inert])")
    assert page.inner_text("#scan-name") == SCAN.name
    assert page.is_hidden("#player")
    assert page.is_hidden("#clip-card")


def _on_screen(page: Any, point: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """Return the position of a row and column of the scan on the screen."""
    box = page.locator("#stage").bounding_box()
    return box["x"] + box["width"] * point[1] / size[1], box["y"] + box["height"] * point[0] / size[0]


def _drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()


def _saved(page: Any, folder: Path) -> dict[str, Any]:
    """Return the only row of the corrections, once everything is saved."""
    page.wait_for_selector("#saved:has-text('Saved at')")
    (sample,) = bcdseg.open_dataset(folder)
    return {"mask": bcdseg.open_dataset(folder).read(sample)[1], "label": sample.label, **sample.facts}


def test_a_corrected_outline_is_saved_immediately_and_survives_a_killed_server(browser: Any, tmp_path: Path) -> None:
    folder, before = tmp_path / "corrections", bcdseg.load().predict(SCAN)
    rows, columns = np.indices(before.size)
    with _serving(folder, signal.SIGKILL) as address, _opened(browser, address) as page:
        page.set_input_files("#files", SCAN)
        page.wait_for_selector("#marks .line", state="attached")
        page.locator("#scan-name").focus()
        page.keyboard.press("b")
        row, first, last, radius = 40.5, 30.5, 90.5, 12
        _drag(page, _on_screen(page, (row, first), before.size), _on_screen(page, (row, last), before.size))
        saved = _saved(page, folder)
        stroke = np.hypot(rows + 0.5 - row, np.clip(columns + 0.5, first, last) - columns - 0.5)
        added = saved["mask"] & ~before.mask
        assert not (before.mask & ~saved["mask"]).any()
        assert (stroke[added] <= radius + 1).all()
        assert added[(stroke <= radius - 1) & ~before.mask].all()
        assert (saved.get("verdict"), saved["outline"], saved["label"]) == (None, "corrected", None)
        page.wait_for_selector(f"#lesions dd:has-text('{int(before.lesions[0].area_px)} px')")
        assert (_drawn(page, before.size) == saved["mask"]).all()
    with _serving(folder) as address, _opened(browser, address) as page:  # the server was killed
        page.set_input_files("#files", SCAN)
        page.wait_for_selector("#saved:has-text('Saved at')")
        assert (_drawn(page, before.size) == saved["mask"]).all()
        assert page.is_disabled("#threshold")
        page.locator("#scan-name").focus()
        page.keyboard.press("r")  # back to the model's
        page.wait_for_selector("#threshold:enabled")
        assert (_drawn(page, before.size) == before.mask).all()
        page.keyboard.press("Control+z")
        page.wait_for_selector("#threshold:disabled")
        page.keyboard.press("2")
        page.keyboard.press("a")
        page.wait_for_selector("#accepted[aria-pressed=true]")
        page.wait_for_selector("#saved:has-text('Saved at')")
        final = _saved(page, folder)
        assert (final["verdict"], final["label"], final["predicted_label"]) == ("accepted", "benign", before.label)
        assert (final["mask"] == saved["mask"]).all()


def test_keys_belong_to_the_scan_and_the_threshold_that_are_displayed(browser: Any, tmp_path: Path) -> None:
    folder, names = tmp_path / "corrections", [SCAN, next(SCAN.parent.glob("benign*.png"))]
    with _serving(folder) as address, _opened(browser, address) as page:
        page.set_input_files("#files", names)
        page.wait_for_selector("#batch-words:has-text('2 of 2 scans read')")
        page.click("#table-body tr:nth-child(1) th button")
        page.wait_for_selector("#waiting", state="hidden")
        page.focus("#threshold")
        for key in ("ArrowRight", "ArrowRight", "a"):  # faster than the library measures
            page.keyboard.press(key)
        saved = _saved(page, folder)
        threshold = round(bcdseg.load().rules.threshold + 0.02, 2)
        assert (saved["verdict"], saved["threshold"]) == ("accepted", threshold)
        assert (saved["mask"] == bcdseg.load().predict(SCAN, threshold=threshold).mask).all()
        requested: list[Any] = []
        page.route("**/prediction?*", lambda route: requested.append(route))  # the next scan is never displayed
        page.locator("#scan-name").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#scan-name:has-text('benign')")
        for key in ("a", "2", "Delete", "Control+z", "r"):
            page.keyboard.press(key)
        page.unroute("**/prediction?*")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#accepted[aria-pressed=true]")
        again = _saved(page, folder)
        assert (again.pop("mask") == saved.pop("mask")).all()
        assert again == saved

        page.fill("#reader", "B. Kim")  # each reader sees only their own readings
        page.press("#reader", "Enter")
        page.wait_for_selector("#accepted[aria-pressed=false]")
        page.click("#tab-batch")
        page.wait_for_selector("#table-body tr:nth-child(1) td:nth-child(8):text-is('')")
        page.click("#tab-scan")
        page.fill("#reader", "A. Lee")
        page.press("#reader", "Enter")
        page.click("#tab-batch")
        page.click("#table-body tr:nth-child(2) th button")  # a scan that is not displayed has its reading too
        page.wait_for_selector("#scan-name:has-text('benign')")
        page.locator("#reader").fill("B. Kim")
        page.press("#reader", "Enter")
        page.click("#tab-batch")
        page.wait_for_selector("#table-body tr:nth-child(1) td:nth-child(8):text-is('')")


def test_drawing_by_keyboard_and_by_finger_and_measuring(browser: Any, address: str) -> None:
    with _opened(browser, address, has_touch=True) as page:
        page.click("#samples li:nth-child(1) button")  # no lesion
        page.wait_for_selector("#waiting", state="hidden")
        page.fill("#spacing", "0.1")
        page.click("#scale button[type=submit]")
        page.wait_for_selector("#scale-words:has-text('given by you')")
        page.locator("#frame").focus()
        page.keyboard.press("c")
        for key in (" ", *["Shift+ArrowRight"] * 4, " "):
            page.keyboard.press(key)
        page.wait_for_selector("#calipers text:text-is('4.0 mm')", state="attached")
        page.keyboard.press("Escape")
        assert page.locator("#calipers text").count() == 0

        page.keyboard.press("p")
        for key in (" ", *["Shift+ArrowRight"] * 3, " ", *["Shift+ArrowDown"] * 3, " ", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector("#lesions dd:has-text('450 px'), #lesions dd:has-text('435 px'), #lesions dd:has-text('465 px')")
        page.keyboard.press("Delete")
        page.wait_for_selector("#lesions:has-text('Nothing is outlined')")

        page.keyboard.press("b")
        box = page.locator("#stage").bounding_box()
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        session = page.context.new_cdp_session(page)
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{**point, "x": point["x"] + 40}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_selector("#lesions .lesion")
        page.wait_for_selector("#undo:enabled")


def test_ground_truth_a_second_model_and_the_order_of_review(page: Any, tmp_path: Path) -> None:
    names = ["malignant #30", "benign"]
    files = []
    for name, path in zip(names, [SCAN, next(SCAN.parent.glob("benign*.png"))], strict=True):
        files.append(tmp_path / f"{name}.png")
        files[-1].write_bytes(path.read_bytes())
    truth = bcdseg.load().predict(SCAN, threshold=0.7).mask
    Image.fromarray(truth).save(tmp_path / "malignant #30_mask.png")
    page.set_input_files("#files", [*files, tmp_path / "malignant #30_mask.png"])
    page.wait_for_selector("#batch-words:has-text('2 of 2 scans read')")
    page.click("#table-head button:text-is('Review first')")
    order = page.locator("#table-body th").all_inner_texts()
    page.click("#table-body tr:nth-child(1) th button")
    page.wait_for_selector("#waiting", state="hidden")
    seen = [page.inner_text("#scan-name")]
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#waiting", state="hidden")
    seen.append(page.inner_text("#scan-name"))
    assert seen == order
    if seen[-1] != "malignant #30.png":
        page.keyboard.press("ArrowRight")
    dice = 2 * truth.sum() / (truth.sum() + bcdseg.load().predict(SCAN).mask.sum())
    page.wait_for_selector(f"#compared-rows tr:has-text('Ground truth'):has-text('{dice:.2f}')")
    page.locator("#others .truth").wait_for(state="attached")
    page.keyboard.press("m")
    page.keyboard.press("m")
    page.wait_for_selector("#compared-rows tr:has-text('busi-lite')")
    page.locator("#others .second").wait_for(state="attached")
    page.keyboard.press("g")
    assert page.locator("#others path").count() == 0
    page.click("#tab-batch")
    with page.expect_download() as download:
        page.click("#zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"predictions.csv", "masks/benign_mask.png", "overlays/malignant #30_overlay.png"} <= set(archive.namelist())


def _barriers(page: Any) -> list[str]:
    """Return the findings of axe-core: the rule, and the elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in found]


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm install in tests/app/page_tools")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_no_barrier(browser: Any, address: str, tmp_path: Path, scheme: str, width: int) -> None:
    with _opened(browser, address, viewport={"width": width, "height": 850}, color_scheme=scheme, bypass_csp=True) as page:
        found = _barriers(page)
        page.click("#samples li:nth-child(3) button")
        page.wait_for_selector("#marks .line", state="attached")
        page.click("#tool-buttons [value=brush]")
        page.click("#accepted")
        page.wait_for_selector("#saved:has-text('Saved at')")
        page.select_option("#second", "busi-lite")
        page.wait_for_selector("#compared-rows tr:nth-child(2)")
        page.click("#tone-details summary")
        found += _barriers(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.click("#keys-open")
        found += _barriers(page)
        page.click("#keys-close")
        page.set_input_files("#more-files", _save_clip(tmp_path / "clip.dcm"))
        page.wait_for_selector("#to-key")
        page.wait_for_selector("#panel:not([inert])")
        found += _barriers(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.click("#play")
        found += _barriers(page)
        for tab in ("#tab-batch", "#tab-report"):
            page.click(tab)
            found += _barriers(page)
    assert found == []
