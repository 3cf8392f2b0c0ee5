"""Take the pictures of docs/how-to/app.md: screenshots of the page in Chromium.

Run from the repository's root: python docs/figures/app_screenshots.py. Needs Chromium, the extra ``dev``, and for the page
without a server ``npm install --prefix tests/app/page_tools``.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "data/sample"
RUNTIME = HERE.parents[1] / "tests/app/page_tools/node_modules/onnxruntime-web/dist"
SCANS = [SAMPLE / name.split()[0] / name for name in ("normal (3).png", "normal (5).png", "benign (2).png", "benign (21).png")]
SCANS += [SAMPLE / "malignant" / f"malignant ({number}).png" for number in (2, 13)]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DESKTOP = {"viewport": {"width": 1180, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}}
MOST_BYTES = 150_000
# Colours that carry a meaning.
KEPT = (
    *("f0e442", "56b4e9", "e69f00", "ff8a5c", "4be3b0", "0b6272"),
    *("5ed0de", "8fa0b2", "7a4b00", "ffc86b", "55616f"),
)


def outlined(page: Page) -> None:
    """Outline a sample."""
    page.click("#samples li:nth-child(2) button")
    page.wait_for_selector("#marks .line", state="attached")


def corrected(page: Page) -> None:
    """Correct an outline with the brush, measure it with calipers, and accept it."""
    outlined(page)
    page.fill("#spacing", "0.1")
    page.click("#scale button[type=submit]")
    page.wait_for_selector("#scale-words:has-text('given by you')")
    box = page.locator("#marks .line").bounding_box()
    right, middle = box["x"] + box["width"], box["y"] + box["height"] / 2
    page.click("#tool-buttons [value=brush]")
    drag(page, (right, middle - 10), (right + 12, middle + 30))
    page.wait_for_selector("#reading-agreement:has-text('Dice')")
    page.click("#accepted")
    page.wait_for_selector("#accepted[aria-pressed=true]")
    page.click("#tool-buttons [value=calipers]")
    drag(page, (box["x"], middle), (right, middle))
    page.wait_for_selector("#saved:has-text('Saved at')")


def compared(page: Page) -> None:
    """Show a second model and the ground truth of the data set next to the outline."""
    page.set_input_files("#files", [SCANS[2], SCANS[2].with_name(f"{SCANS[2].stem}_mask.png")])
    page.wait_for_selector("#marks .line", state="attached")
    page.select_option("#second", "busi-lite")
    page.wait_for_selector("#compared-rows tr:nth-child(3)")
    page.locator("#second-note").scroll_into_view_if_needed()


def keys(page: Page) -> None:
    """Show the list of keys over a sample."""
    outlined(page)
    page.click("#keys-open")


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw with the mouse."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def explained(page: Page) -> None:
    """Outline a sample and show its heat map."""
    outlined(page)
    page.check("#show-heat")
    page.wait_for_selector("#waiting", state="hidden")


def listed(page: Page) -> None:
    """List the first two sample scans of each class, in the order of review."""
    page.set_input_files("#files", SCANS)
    page.wait_for_selector("#batch-words:has-text('read with')")
    page.click("#table-head button:text-is('Review first')")


def played(page: Page) -> None:
    """Show a clip at its key frame, with its summary."""
    with tempfile.TemporaryDirectory() as folder:
        page.set_input_files("#files", save_clip(Path(folder) / "clip.dcm"))
        page.wait_for_selector("#to-key")  # the page reads the file when it sends it
        page.wait_for_selector("#clip-progress:empty", state="attached")
    page.click("#to-key")
    page.wait_for_selector("#panel:not([inert])")


def save_clip(path: Path) -> Path:
    """Write a clip of 42 frames in which a window moves over a sample scan; the page uses every second frame."""
    with Image.open(SCANS[2]) as image:
        scan = np.asarray(image.convert("L"))
    window, last = int(0.6 * scan.shape[1]), int(0.4 * scan.shape[1])
    frames = np.stack([scan[:, start : start + window] for start in np.linspace(0, last, 42).astype(int)])
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, generate_uid()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    clip = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    clip.SOPClassUID, clip.SOPInstanceUID, clip.Modality = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, "US"
    clip.NumberOfFrames, clip.Rows, clip.Columns = frames.shape
    clip.FrameTime, clip.FrameIncrementPointer = 40.0, 0x00181063
    clip.SamplesPerPixel, clip.PhotometricInterpretation, clip.PixelRepresentation = 1, "MONOCHROME2", 0
    clip.BitsAllocated, clip.BitsStored, clip.HighBit = 8, 8, 7
    content = frames.tobytes()
    clip.PixelData = content + bytes(len(content) % 2)
    clip.save_as(path, enforce_file_format=True)
    return path


SHOTS: dict[str, tuple[dict[str, Any], Callable[[Page], None]]] = {
    "app-scan.png": (DESKTOP, outlined),
    "app-compare.png": (DESKTOP, compared),
    "app-keys.png": (DESKTOP, keys),
    "app-dark.png": ({**DESKTOP, "color_scheme": "dark"}, explained),
    "app-batch.png": ({"viewport": {"width": 1240, "height": 640}}, listed),
    "app-phone.png": (PHONE, outlined),
    "app-clip.png": ({"viewport": {"width": 1180, "height": 920}}, played),
    "app-correct.png": (DESKTOP, corrected),  # the last one: the sample keeps its correction
}


def main() -> None:
    """Open the pages, and photograph them."""
    with tempfile.TemporaryDirectory() as folder:
        photograph_all(Path(folder) / "corrections")
        photograph_static(Path(folder) / "page")


def photograph_static(page: Path) -> None:
    """Photograph the page without a server, opened from its folder."""
    command = [sys.executable, "-m", "bcdseg", "app", "--static", str(page), "--onnxruntime-web", str(RUNTIME)]
    subprocess.run(command, check=True)
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        save(photograph(browser, f"file://{page}/index.html", DESKTOP, outlined), HERE / "app-static.png")
        browser.close()


def photograph_all(corrections: Path) -> None:
    """Photograph a page that saves its corrections in a folder."""
    command = [sys.executable, "-m", "bcdseg", "app", "--no-browser", "--port", "0", "--reader", "A. Lee"]
    app = subprocess.Popen([*command, "--corrections", "corrections"], stdout=subprocess.PIPE, text=True, cwd=corrections.parent)
    try:
        address = re.search(r"http://\S+", app.stdout.readline()).group()
        with sync_playwright() as tool:
            browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for name, (look, act) in SHOTS.items():
                save(photograph(browser, address, look, act), HERE / name)
            browser.close()
    finally:
        app.terminate()


def photograph(browser: Browser, address: str, look: dict[str, Any], act: Callable[[Page], None]) -> bytes:
    """Return a screenshot of the page after an action."""
    context = browser.new_context(**look)
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(address)
    page.wait_for_selector("#samples button")
    act(page)
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    picture = page.screenshot()
    context.close()
    return picture


def save(picture: bytes, path: Path) -> None:
    """Save a picture with as many colours as fit into ``MOST_BYTES``."""
    with Image.open(io.BytesIO(picture)) as image:
        whole = image.convert("RGB")
        for colours in (240, 120, 60, 30):
            palette = Image.new("P", (1, 1))
            found = whole.quantize(colours).getpalette() or []
            palette.putpalette([*found[: 3 * colours], *bytes.fromhex("".join(KEPT))])
            whole.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size < MOST_BYTES:
                break
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
