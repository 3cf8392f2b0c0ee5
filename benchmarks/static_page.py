"""The page without a server against the page of ``bcdseg app``: the first outline and later ones, in Chromium.

    python benchmarks/static_page.py PAGE [--repeats 3] [--only "a folder"]

PAGE is a folder that ``bcdseg app --static`` wrote. It is opened from the folder, from a web server with one thread, and from one
whose headers allow threads. The first outline is timed from the click on a sample of a page that has just been opened, and from
the opening itself. Later ones are the scans of ``data/sample``, one by one, from choosing the file to the drawn outline. Needs
Chromium and the extra ``dev``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

SCANS = sorted((Path(__file__).parents[1] / "data" / "sample").glob("*/*[0-9)].png"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
ISOLATED = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}
WAIT = 300_000  # milliseconds


class Handler(SimpleHTTPRequestHandler):
    """Handler of files with some more headers."""

    def __init__(self, *arguments: Any, headers_of_all: dict[str, str], **options: Any) -> None:
        self.headers_of_all = headers_of_all
        super().__init__(*arguments, **options)

    def end_headers(self) -> None:
        """Add the headers."""
        for name, value in self.headers_of_all.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def web_server(page: Path, headers: dict[str, str]) -> Iterator[str]:
    """Serve the page by a web server and yield its address."""
    handler = partial(Handler, directory=str(page), headers_of_all=headers)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def program() -> Iterator[str]:
    """Start ``bcdseg app`` and yield the address of its page."""
    command = [sys.executable, "-m", "bcdseg", "app", "--no-browser", "--port", "0", "--no-save"]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout is not None
        found = re.search(r"http://\S+", app.stdout.readline())
        assert found is not None
        yield found.group()
    finally:
        app.terminate()
        app.wait()


def outlines(browser: Any, address: str) -> tuple[float, float, list[float]]:
    """Return the seconds of the first outline, from the click and from the opening of the page, and of later ones."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT)
    opened = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("#samples button")
    clicked = time.perf_counter()
    page.click("#samples li:nth-child(2) button")
    page.wait_for_selector("#marks .line", state="attached")
    first = time.perf_counter()
    later = []
    for scan in SCANS:
        start = time.perf_counter()
        page.set_input_files("#more-files", scan)
        page.wait_for_selector(f"#scan-name:text-is('{scan.name}')")
        page.wait_for_selector("#waiting", state="hidden")
        later.append(time.perf_counter() - start)
        page.wait_for_timeout(300)  # the table is filled
    context.close()
    return first - clicked, first - opened, later


def main() -> None:
    """Time each page, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("page", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="one of the pages of the table")
    options = parser.parse_args()
    print("| page | first outline, from the click | from the opening | later outlines, median | slowest |\n|---|---|---|---|---|")
    with sync_playwright() as tool, web_server(options.page, {}) as plain, web_server(options.page, ISOLATED) as isolated:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS, timeout=WAIT)
        with program() as served:
            pages = {
                "a folder": f"file://{options.page.resolve()}/index.html",
                "a web server": plain,
                "a web server that allows threads": isolated,
                "`bcdseg app`": served,
            }
            for name, address in pages.items() if options.only is None else [(options.only, pages[options.only])]:
                runs = [outlines(browser, address) for _ in range(options.repeats)]
                clicks, openings = statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
                later = [seconds for run in runs for seconds in run[2]]
                print(
                    f"| {name} | {clicks:.2f} s | {openings:.2f} s | {statistics.median(later):.2f} s | {max(later):.2f} s |",
                    flush=True,
                )
        browser.close()


if __name__ == "__main__":
    main()
