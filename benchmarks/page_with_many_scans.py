"""Times of the page with many scans in Chromium: predicting them all, drawing the table, sorting and scrolling it.

    python benchmarks/page_with_many_scans.py PAGE [--scans 500]

PAGE is a folder that ``bcdseg app --static`` wrote, or the address of a running ``bcdseg app``. The scans are those of
``data/sample``, repeated. A long task keeps the page busy for more than 50 ms, in which it responds to nothing.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

SCANS = sorted((Path(__file__).parents[1] / "data" / "sample").glob("*/*[0-9)].png"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
WAIT = 3_600_000  # milliseconds
OBSERVE = """() => {
  window.longTasks = [];
  new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((one) => one.duration))).observe({ type: "longtask" });
}"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
SORT = """async () => {
  const start = performance.now();
  document.querySelector('#table-head [data-key=size] button').click();
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - start;
}"""
SCROLL = """async () => {
  const frames = [];
  let before = performance.now();
  for (let step = 0; step < 100; step++) {
    scrollBy(0, document.body.scrollHeight / 100);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - before);
    before = now;
  }
  frames.sort((one, other) => one - other);
  return [frames[50], frames[95]];
}"""


def copies(folder: Path, count: int) -> list[str]:
    """Copy the sample scans until there are enough, and return their paths."""
    made = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(made):
        shutil.copyfile(SCANS[number % len(SCANS)], path)
    return [str(path) for path in made]


def measure(page: Any, address: str, scans: list[str]) -> None:
    """Print the figures of one page."""
    page.goto(address)
    page.wait_for_selector("#samples button")
    print(f"first paint: {page.evaluate(PAINT):.0f} ms")
    page.evaluate(OBSERVE)
    start = time.perf_counter()
    page.set_input_files("#files", scans)
    page.wait_for_selector(f"#batch-words:has-text('{len(scans)} of {len(scans)} scans read')")
    whole = time.perf_counter() - start
    busy = page.evaluate("longTasks")
    print(f"{len(scans)} scans opened and predicted: {whole:.1f} s, {whole / len(scans):.3f} s each")
    print(f"long tasks: {len(busy)}, longest {max(busy, default=0):.0f} ms, together {sum(busy) / 1e3:.1f} s")
    print(f"sorting the table: {page.evaluate(SORT):.0f} ms")
    middle, slow = page.evaluate(SCROLL)
    print(f"frames while scrolling: median {middle:.0f} ms, 95 % within {slow:.0f} ms")


def main() -> None:
    """Open the page with many scans."""
    parser = argparse.ArgumentParser()
    parser.add_argument("page", help="a folder that bcdseg app --static wrote, or an address")
    parser.add_argument("--scans", type=int, default=500)
    options = parser.parse_args()
    address = options.page if "://" in options.page else f"file://{Path(options.page).resolve()}/index.html"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS, timeout=WAIT)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT)
        measure(page, address, copies(Path(folder), options.scans))
        browser.close()


if __name__ == "__main__":
    main()
