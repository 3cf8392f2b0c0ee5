"""The page without a server as a part of the site: a reader can try the default model in the browser.

It needs onnxruntime-web, an npm package: ``npm install --prefix tests/app/page_tools``. Where it is not installed, the site shows
how to write the page instead.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mkdocs.structure.files import File, Files

DIST = Path(__file__).parents[2] / "tests" / "app" / "page_tools" / "node_modules" / "onnxruntime-web" / "dist"
FOLDER = "page"
OPEN = f"[Open the page]({FOLDER}/index.html){{ .md-button }}"
MISSING = "This copy of the documentation was built without it. `bcdseg app --static page` writes it."


def add_browser_page(files: Files, config: object) -> None:
    """Add the files of the page if onnxruntime-web is installed."""
    if not DIST.is_dir():
        return
    import bcdseg
    from bcdseg.app.static_page import write_static_page

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / FOLDER
        write_static_page(bcdseg.load(), folder, onnxruntime_web=DIST)
        for path in folder.iterdir():
            files.append(File.generated(config, f"{FOLDER}/{path.name}", content=path.read_bytes()))  # type: ignore[arg-type]


def browser_page() -> str:
    """Return a link to the page, or a sentence on how to write it."""
    return OPEN if DIST.is_dir() else MISSING
