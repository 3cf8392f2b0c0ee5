"""A split on disk: JSON with the part, the group and the content hash of each scan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.data.content import content_hash
from bcdseg.data.dataset import Dataset
from bcdseg.errors import DatasetError
from bcdseg.files import write_whole

if TYPE_CHECKING:
    from bcdseg.data.splits import Split

FORMAT = "bcdseg split"
VERSION = 1
MOST_NAMED = 10
PARTS = ("train", "val", "test")


def load_split(path: str | PathLike[str], dataset: Dataset) -> Split:
    """Read a split that ``Split.save`` wrote, for the data set that it was made of.

    Labels and masks may have been corrected since; the scans may not have changed.

    Raises:
        DatasetError: The file is no split, or the data set has other scans than it: the message names those that were
            added, removed and changed.
    """
    from bcdseg.data.splits import Split

    content = _content(Path(path))
    rows = {row["id"]: row for row in content["samples"]}
    changes = {
        "added": [one for one in dataset.ids if one not in rows],
        "removed": [one for one in rows if one not in dataset],
        "changed": [one.id for one in dataset if one.id in rows and content_hash(one.image) != rows[one.id]["hash"]],
    }
    if any(changes.values()):
        said = "; ".join(_named(what, ids) for what, ids in changes.items() if ids)
        raise DatasetError(
            f"{path}: was made of other data than {dataset.name}: {said}. "
            "Open the data as it was then (with the same audit applied), or make a new split."
        )
    samples = {one.id: replace(one, group=rows[one.id]["group"]) for one in dataset}
    train, val, test = (
        replace(dataset, samples=tuple(samples[one] for one, row in rows.items() if row["part"] == name)) for name in PARTS
    )
    return Split(train, val, test, content["seed"], tuple(content["fractions"]))


def write(split: Split, path: str | PathLike[str], overwrite: bool) -> None:
    """Write a split, whole or not at all."""
    write_whole(Path(path), content_of(split), overwrite=overwrite, durable=True)


def content_of(split: Split) -> bytes:
    """A split as it is written."""
    rows = [
        {"id": sample.id, "part": name, "group": sample.group, "hash": content_hash(sample.image)}
        for name, part in zip(PARTS, split, strict=True)
        for sample in part
    ]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": split.train.name,
        "seed": split.seed,
        "fractions": split.fractions,
        "samples": rows,
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode()


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such split file.") from None
    except ValueError as error:
        raise DatasetError(f"{path}: is no split file ({error}).") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DatasetError(f"{path}: is no split file.")
    if content.get("version") != VERSION:
        raise DatasetError(f"{path}: has format version {content.get('version')}; this release reads version {VERSION}.")
    expected = {"id", "part", "group", "hash"}
    rows = content.get("samples")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() == expected for row in rows):
        raise DatasetError(f"{path}: the split file is damaged: its samples are not as they were written.")
    return content


def _named(what: str, ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"{len(ids)} {what} ({', '.join(ids[:MOST_NAMED])}{more})"
