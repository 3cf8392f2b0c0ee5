"""Limits of the page, and the files that it is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MEBI = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what is handed in, and on what is held in memory.

    Attributes:
        file_bytes: Of one file, a scan, a clip or a report.
        pixels: Of one scan: height times width.
        frames: Of one clip; of a longer one each n-th is taken.
        scans: That one page holds.
        session_bytes: Of all files that one page holds.
        sessions: Pages held at once; the one that was used longest ago gives way.
        idle_seconds: After which a page's scans are let go.
        at_once: Predictions that run side by side.
        arriving_bytes: Of all files that are arriving, which are in memory.
        stall_seconds: Without a byte of a file that is arriving.
        arrival_seconds: For a whole file to arrive.
        connections: Open connections; a new one takes the place of the one that has been idle for longest.
        kept_pixels: Of the latest answers, which are kept so that nothing is computed twice.
    """

    file_bytes: int = 64 * MEBI
    pixels: int = 25_000_000
    frames: int = 40
    scans: int = 200
    session_bytes: int = 256 * MEBI
    sessions: int = 8
    idle_seconds: float = 3600.0
    at_once: int = 2
    arriving_bytes: int = 256 * MEBI
    stall_seconds: float = 15.0
    arrival_seconds: float = 120.0
    connections: int = 128
    kept_pixels: int = 50_000_000


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
