"""What lies in a folder: names and sizes, nothing read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bcdseg.data.dicom.sniff import SUFFIXES as DICOM_SUFFIXES
from bcdseg.data.images import SUFFIXES
from bcdseg.types import Sample

TABLES = (".csv", ".tsv", ".parquet", ".xlsx")


@dataclass
class Found:
    """The samples of a data set and what is wrong with its other files."""

    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """The files below a folder, by their paths relative to it, with forward slashes, sorted; listed when first asked for.

    Attributes:
        root: The folder.
        table: The table that the user named, when it was a table and not the folder.
    """

    root: Path
    table: Path | None = None

    @property
    def images(self) -> list[str]:
        """The image files, by their suffix."""
        return self._files[0]

    @property
    def tables(self) -> list[str]:
        """The tables: only the one that the user named, when it was one."""
        return [self.table.name] if self.table else self._files[1]

    @property
    def empty(self) -> frozenset[str]:
        """Image files of no bytes, and links that lead nowhere."""
        return frozenset(self._files[2])

    def path(self, name: str) -> Path:
        """The file of that relative path."""
        return self.root / name

    @cached_property
    def _files(self) -> tuple[list[str], list[str], list[str]]:
        images, tables, empty = [], [], []
        for name, entry in _walk(str(self.root)):
            suffix = "." + name.rpartition(".")[2].lower()
            if suffix in (*SUFFIXES, *DICOM_SUFFIXES):
                images.append(name)
                if _is_empty(entry):
                    empty.append(name)
            elif suffix in TABLES:
                tables.append(name)
        return sorted(images), sorted(tables), empty


def _is_empty(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat().st_size == 0
    except OSError:
        return True


def _walk(root: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder, links to folders followed once; hidden files and what macOS puts into archives left out."""
    folders, seen = [("", root)], {os.path.realpath(root)}
    while folders:
        before, folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if not entry.is_dir():
                    yield before + entry.name, entry
                elif (real := os.path.realpath(entry.path)) not in seen:
                    seen.add(real)
                    folders.append((f"{before}{entry.name}/", entry.path))
