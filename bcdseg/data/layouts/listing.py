"""Lists of the files in a folder, and the labels and parts that file names imply."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bcdseg.data.annotations.nifti import SUFFIXES as NIFTI_SUFFIXES
from bcdseg.data.images import ARRAY_SUFFIX, SUFFIXES
from bcdseg.data.tables.files import SUFFIXES as TABLE_SUFFIXES
from bcdseg.sources import SUFFIXES as DICOM_SUFFIXES
from bcdseg.sources import VIDEO_SUFFIXES
from bcdseg.types import Sample

IMAGE_SUFFIXES = frozenset((*SUFFIXES, *DICOM_SUFFIXES, ARRAY_SUFFIX))
GZIPPED = ".nii.gz"
OTHER_SUFFIXES = frozenset(
    (".gif", ".jp2", ".j2k", ".jpx", ".jfif", ".heic", ".heif", ".avif", ".pgm", ".ppm", ".pbm", ".tga", ".mha", ".mhd", ".nrrd")
)
"""Common suffixes of images that aren't read."""

ANNOTATION_SUFFIXES = (".json", ".xml", ".yaml", ".yml", ".txt")


@dataclass
class FolderListing:
    """The samples of a data set and the problems with its other files."""

    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """The sorted files below a folder, as relative paths with forward slashes, listed on first access.

    Attributes:
        root: The folder.
        table: The table that the user named, or None if the user named a folder.
        columns: Columns of a table by field, where the user named them.
        annotation: Annotation file that the user named, or None.
        labels: Labels that the user's mapping of classes names.
    """

    root: Path
    table: Path | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    annotation: Path | None = None
    labels: frozenset[str] = frozenset()

    @property
    def images(self) -> list[str]:
        """Files with the suffix of an image."""
        return self._files[0]

    @property
    def tables(self) -> list[str]:
        """All tables, or only the one that the user named."""
        return [self.table.name] if self.table else self._files[1]

    @property
    def annotations(self) -> list[str]:
        """JSON, XML, YAML and text files, which may contain annotations; or only the one that the user named."""
        return [self.annotation.relative_to(self.root).as_posix()] if self.annotation else self._files[3]

    @property
    def clips(self) -> list[str]:
        """Video clips, whose frames have to be extracted first."""
        return self._files[4]

    @property
    def other_images(self) -> list[str]:
        """Images of formats that aren't read."""
        return self._files[5]

    @property
    def empty(self) -> frozenset[str]:
        """Image files without content, and broken links."""
        return frozenset(self._files[2])

    def path(self, name: str) -> Path:
        """Return the file with this relative path; the table that the user named may be outside the folder."""
        return self.table if self.table is not None and name == self.table.name else self.root / name

    @cached_property
    def _files(self) -> tuple[list[str], list[str], list[str], list[str], list[str], list[str]]:
        images: list[str] = []
        arrays: list[str] = []
        tables, empty, annotations, clips, others = [], [], [], [], []
        for name, entry in _walk(str(self.root)):
            suffix = "." + name.rpartition(".")[2].lower()
            if suffix in IMAGE_SUFFIXES or name.lower().endswith(NIFTI_SUFFIXES):
                (arrays if suffix == ARRAY_SUFFIX else images).append(name)
                if _is_empty(entry):
                    empty.append(name)
            elif suffix in TABLE_SUFFIXES:
                tables.append(name)
            elif suffix in ANNOTATION_SUFFIXES:
                annotations.append(name)
            elif suffix in VIDEO_SUFFIXES:
                clips.append(name)
            elif suffix in OTHER_SUFFIXES:
                others.append(name)
        images = [*images, *_arrays_alone(arrays, images)]
        return sorted(images), sorted(tables), empty, sorted(annotations), sorted(clips), sorted(others)


def _arrays_alone(arrays: Sequence[str], images: Sequence[str]) -> list[str]:
    """Return the arrays in folders without other images. Next to images, and in the data set's own folder, they are other data."""
    with_images = {"", *(name.rpartition("/")[0] for name in images)}
    return [name for name in arrays if name.rpartition("/")[0] not in with_images]


def _is_empty(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat().st_size == 0
    except OSError:
        return True


def _walk(root: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below a folder, except hidden files and those of macOS archives; links to folders are followed once."""
    folders, visited = [("", root)], {os.path.realpath(root)}
    while folders:
        before, folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if not entry.is_dir():
                    yield before + entry.name, entry
                elif (real := os.path.realpath(entry.path)) not in visited:
                    visited.add(real)
                    folders.append((f"{before}{entry.name}/", entry.path))


PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MOST_CLASSES = 100
NUMBERED = re.compile(r"^([a-z]+(?:[ _-][a-z]+)*)[ _-]*\(?\d+\)?$", re.IGNORECASE)


def split_path(path: str) -> tuple[tuple[str, ...], str]:
    """Return the folders of a relative path and the stem of its file."""
    *folders, name = path.split("/")
    return tuple(folders), stem_of(name)


def stem_of(name: str) -> str:
    """Return a file's name, or its relative path, without the suffix; ``.nii.gz`` is one suffix."""
    gzipped = name.lower().endswith(GZIPPED)
    return name[: -len(GZIPPED)] if gzipped else name.rpartition(".")[0]


def take_part(folders: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the part of a split that a folder is named after, or None, and the other folders."""
    parts = [PARTS[folder.lower()] for folder in folders if folder.lower() in PARTS]
    return (parts[-1] if parts else None), tuple(folder for folder in folders if folder.lower() not in PARTS)


def name_labels(stems: Sequence[str]) -> list[str | None]:
    """Return labels from file names such as ``benign (12)``; words other than the usual classes are patients or scanners."""
    matches = [NUMBERED.match(stem) for stem in stems]
    return [match[1].lower() if match and match[1].lower() in USUAL_ORDER else None for match in matches]


USUAL_ORDER = ("normal", "benign", "malignant")


def class_order(label: str) -> tuple[int, str]:
    """Return the sort key of classes: the usual ones first, then the others in alphabetical order."""
    low = label.lower()
    return (USUAL_ORDER.index(low) if low in USUAL_ORDER else len(USUAL_ORDER), label)
