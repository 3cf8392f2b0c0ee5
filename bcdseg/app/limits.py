"""Limits of the page, and its static files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bcdseg.web.bodies import MEGA


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on uploads, and on what is kept in memory.

    Attributes:
        file_bytes: Bytes of one file: a scan, a clip or a report.
        pixels: Pixels of one scan: height times width.
        frames: Frames of one clip; a longer one is subsampled to each n-th frame.
        scans: Scans of one session.
        session_bytes: Bytes of all files of one session.
        sessions: Simultaneous sessions; the least recently used one is closed for a new one.
        idle_seconds: Seconds without a request after which a session is closed.
        parallel: Predictions that run in parallel.
        read_seconds: Longest processor time for a file to be decoded; after it the process that decodes it is ended.
        passing_seconds: Longest time that may pass until a file is decoded.
        arriving_bytes: Bytes of all unfinished uploads, which are in memory.
        stall_seconds: Longest time without a byte of an upload.
        arrival_seconds: Longest time for a whole file to arrive.
        connections: Open connections; a new one replaces the one that has been idle for longest.
        review_bytes: Bytes of one review: what a reader states about a scan, with the outline.
        corrections_bytes: Bytes of all files in the folder of corrections.
        kept_pixels: Pixels of the latest predictions, which are cached so that nothing is computed twice.
    """

    file_bytes: int = 64 * MEGA
    pixels: int = 25_000_000
    frames: int = 40
    scans: int = 500
    session_bytes: int = 256 * MEGA
    sessions: int = 8
    idle_seconds: float = 3600.0
    parallel: int = 2
    read_seconds: float = 30.0
    passing_seconds: float = 90.0
    arriving_bytes: int = 256 * MEGA
    stall_seconds: float = 15.0
    arrival_seconds: float = 120.0
    connections: int = 128
    kept_pixels: int = 50_000_000
    review_bytes: int = 4 * MEGA
    corrections_bytes: int = 8_000 * MEGA


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
    """Return content and media type of each static file of the page, by its path below the folder."""
    return {
        path.relative_to(STATIC).as_posix(): (path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in STATIC.rglob("*")
        if path.suffix in MEDIA_TYPES
    }


@cache
def sample_scans() -> dict[str, Path]:
    """Return the sample scans of the package, by their class in the data set: no lesion, benign, malignant."""
    order = ("normal", "benign", "malignant")
    found = {re.split(r"\W", path.name)[0]: path for path in SAMPLES.glob("*.png")}
    return {name: found[name] for name in order}
