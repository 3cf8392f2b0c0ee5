"""What the page is made of: its own files and the sample scans, read from the package and from nowhere else."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
SAMPLES = Path(__file__).parent / "samples"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Content and media type of each file of the page, by name."""
    return {path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES}


@cache
def sample_scans() -> dict[str, Path]:
    """The scans that come with the page, by what the data set calls them: no lesion, benign, malignant."""
    order = ("normal", "benign", "malignant")
    found = {re.split(r"\W", path.name)[0]: path for path in SAMPLES.glob("*.png")}
    return {name: found[name] for name in order}
