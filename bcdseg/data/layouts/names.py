"""What the names of folders and files say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bcdseg.data.dataset import USUAL_ORDER

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MOST_CLASSES = 100
NUMBERED = re.compile(r"^([a-z]+(?:[ _-][a-z]+)*)[ _-]*\(?\d+\)?$", re.IGNORECASE)


def split_path(path: str) -> tuple[tuple[str, ...], str]:
    """The folders of a relative path, and the stem of its file."""
    *folders, name = path.split("/")
    return tuple(folders), name.rpartition(".")[0]


def take_part(folders: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The part of a split that a folder is named after, and the other folders."""
    parts = [PARTS[folder.lower()] for folder in folders if folder.lower() in PARTS]
    return (parts[-1] if parts else None), tuple(folder for folder in folders if folder.lower() not in PARTS)


def folder_labels(folders: Sequence[Sequence[str]]) -> list[str | None]:
    """The innermost folder of each file as its label, when these folders tell classes apart.

    One folder of no usual class is just where the files are; very many are patients.
    """
    names = [inner[-1] if inner else None for inner in folders]
    distinct = {name for name in names if name is not None}
    if 2 <= len(distinct) <= MOST_CLASSES or {name.lower() for name in distinct} <= set(USUAL_ORDER):
        return names
    return [None] * len(names)


def name_labels(stems: Sequence[str]) -> list[str | None]:
    """``benign`` of ``benign (12)``; other words than the usual classes are no labels, but patients or scanners."""
    matches = [NUMBERED.match(stem) for stem in stems]
    return [match[1].lower() if match and match[1].lower() in USUAL_ORDER else None for match in matches]
