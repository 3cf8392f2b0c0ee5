"""What was found once for a set of files is kept, under a name made of the files' content."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bcdseg.data.duplicates.groups import Pair
from bcdseg.types import Sample

VERSION = 1
"""Raise it when the same files would give other pairs: what older versions kept is then not read any more."""


def folder() -> Path:
    """The user's cache folder: ``BCDSEG_CACHE``, or the platform's own."""
    if chosen := os.environ.get("BCDSEG_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "bcdseg"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/bcdseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bcdseg"


def content_key(samples: Sequence[Sample]) -> str:
    """A name for the samples' ids and the content of their images; their order is of no matter."""
    whole = hashlib.sha256(f"duplicates {VERSION}".encode())
    for sample in sorted(samples, key=lambda sample: sample.id):
        with sample.image.open("rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
        whole.update(json.dumps([sample.id, content]).encode())
    return whole.hexdigest()


def kept(key: str) -> tuple[Pair, ...] | None:
    """The pairs that were kept under the name, or None; a damaged file is as good as none."""
    try:
        rows = json.loads((folder() / "duplicates" / f"{key}.json").read_text("utf-8"))
        return tuple(Pair(**{**row, "evidence": tuple(row["evidence"]), "placement": tuple(row["placement"])}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(key: str, pairs: Sequence[Pair]) -> None:
    """Write the pairs, whole or not at all. A folder that can't be written is no error: the next call computes again."""
    with suppress(OSError):
        home = folder() / "duplicates"
        home.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=home, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump([asdict(pair) for pair in pairs], file)
            Path(name).replace(home / f"{key}.json")
        finally:
            Path(name).unlink(missing_ok=True)
