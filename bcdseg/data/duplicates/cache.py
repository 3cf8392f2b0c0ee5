"""What was found once for a set of files is kept, under a name made of the files' content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bcdseg.data.cache_folder import cache_folder
from bcdseg.data.duplicates.groups import Pair
from bcdseg.data.regular_file import open_regular
from bcdseg.files import write_whole
from bcdseg.types import Sample

VERSION = 2
"""Raise it when the same files would give other pairs: what older versions kept is then not read any more."""


def content_key(samples: Sequence[Sample]) -> str:
    """A name for the samples' ids and the content of their images; their order is of no matter."""
    whole = hashlib.sha256(f"duplicates {VERSION}".encode())
    for sample in sorted(samples, key=lambda sample: sample.id):
        with open_regular(sample.image, str(sample.image)) as file:
            content = hashlib.sha256(file.read()).hexdigest()
        whole.update(json.dumps([sample.id, content]).encode())
    return whole.hexdigest()


def kept(key: str) -> tuple[Pair, ...] | None:
    """The pairs that were kept under the name, or None; a damaged file is as good as none."""
    try:
        rows = json.loads(_place(key).read_text("utf-8"))
        return tuple(Pair(**{**row, "evidence": tuple(row["evidence"]), "placement": tuple(row["placement"])}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(key: str, pairs: Sequence[Pair]) -> None:
    """Write the pairs, whole or not at all. A folder that can't be written is no error: the next call computes again."""
    with suppress(OSError):
        write_whole(_place(key), json.dumps([asdict(pair) for pair in pairs]).encode(), overwrite=True)


def _place(key: str) -> Path:
    return cache_folder() / "duplicates" / f"{key}.json"
