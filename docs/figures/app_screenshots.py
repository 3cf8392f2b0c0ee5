"""The pictures of docs/how-to/app.md: the page as it is, photographed in Chromium.

Run from the repository's root: python docs/figures/app_screenshots.py. Needs Chromium and the extra ``dev``.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "data/sample"
SCANS = [SAMPLE / name.split()[0] / name for name in ("normal (3).png", "normal (5).png", "benign (2).png", "benign (21).png")]
SCANS += [SAMPLE / "malignant" / f"malignant ({number}).png" for number in (2, 13)]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DESKTOP = {"viewport": {"width": 1180, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}}
MOST_BYTES = 150_000
KEPT = ("f0e442", "56b4e9", "e69f00", "0b6272", "5ed0de", "8fa0b2", "7a4b00", "ffc86b", "55616f")  # colours that carry a meaning


def outlined(page: Page) -> None:
    """A sample, outlined."""
    page.click("#samples li:nth-child(2) button")
    page.wait_for_selector("#marks .line", state="attached")


def explained(page: Page) -> None:
    """The same with its heat map."""
    outlined(page)
    page.check("#show-heat")
    page.wait_for_selector("#waiting", state="hidden")


def listed(page: Page) -> None:
    """The first two sample scans of each class, the least sure first."""
    page.set_input_files("#files", SCANS)
    page.wait_for_selector("#batch-words:has-text('read with')")
    for _ in range(2):
        page.click("#table-head button:text-is('Probability')")


SHOTS: dict[str, tuple[dict[str, Any], Callable[[Page], None]]] = {
    "app-scan.png": (DESKTOP, outlined),
    "app-dark.png": ({**DESKTOP, "color_scheme": "dark"}, explained),
    "app-batch.png": ({"viewport": {"width": 1240, "height": 530}}, listed),
    "app-phone.png": (PHONE, outlined),
}


def main() -> None:
    """Open the page, and photograph it."""
    command = [sys.executable, "-m", "bcdseg", "app", "--no-browser", "--port", "0"]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
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
    """The page after something was done."""
    context = browser.new_context(**look)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector("#samples button")
    act(page)
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    picture = page.screenshot()
    context.close()
    return picture


def save(picture: bytes, path: Path) -> None:
    """As few colours as it takes to be small."""
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
