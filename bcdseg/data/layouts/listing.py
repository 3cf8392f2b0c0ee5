"""Lists of the files in a folder, and the labels, groups and parts that names of folders and files imply."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from bcdseg.data.images import ARRAY_SUFFIX, SUFFIXES
from bcdseg.data.labels import USUAL_ORDER
from bcdseg.data.tables.files import SUFFIXES as TABLE_SUFFIXES
from bcdseg.errors import DataWarning
from bcdseg.messages import name_some, warn_caller
from bcdseg.sources import SUFFIXES as DICOM_SUFFIXES
from bcdseg.sources import VIDEO_SUFFIXES, is_nifti
from bcdseg.types import Sample

IMAGE_SUFFIXES = frozenset((*SUFFIXES, *DICOM_SUFFIXES, ARRAY_SUFFIX))
GZIPPED = ".nii.gz"
OTHER_SUFFIXES = frozenset(
    (".gif", ".jp2", ".j2k", ".jpx", ".jfif", ".heic", ".heif", ".avif", ".pgm", ".ppm", ".pbm", ".tga", ".mha", ".mhd", ".nrrd")
)
"""Common suffixes of images that aren't read."""

ANNOTATION_SUFFIXES = (".json", ".xml", ".yaml", ".yml", ".txt")

FINER = re.compile(r"bi-?rads|grade|type|class", re.IGNORECASE)  # start of the names of finer classes
Names = list[str | None]
"""The label or the group of each file, None where it is unknown."""


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
            if suffix in IMAGE_SUFFIXES or is_nifti(name):
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
    """Return the folders of a relative path and the stem of its file, in one Unicode form; see ``stem_of``."""
    *folders, name = normalize("NFC", path).split("/")
    return tuple(folders), stem_of(name)


def stem_of(name: str) -> str:
    """Return a file's name, or its relative path, without the suffix; ``.nii.gz`` is one suffix.

    The name is in one Unicode form (NFC), because macOS and other systems write umlauts and accents in different ones.
    """
    name = normalize("NFC", name)
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


def labels_and_groups(root: Path, folders: Sequence[Sequence[str]], *, any_number: bool = False) -> tuple[Names, Names]:
    """Return the label and the group of each file, and warn of folders that are neither.

    The label is the innermost folder, if there are at least two and not very many of them, or if they are usual classes: a single
    folder is only the location of the files, and very many folders are patients.

    If there are patients below folders of the usual classes (``benign/P01/1.png``), the class is the label and the patient is the
    group.

    Args:
        root: The data set's folder, for the warning.
        folders: Folders of each file below the data set's folder, without those of parts.
        any_number: Whether the innermost folders are labels however many they are.
    """
    classes = class_positions(folders)
    if classes is None:
        labels: Names = [inner[-1] if inner else None for inner in folders]
        groups: Names = [None] * len(labels)
        if not any_number and not _are_classes(labels):
            labels = [None] * len(labels)
        unused = [tuple(inner if label is None else inner[:-1]) for inner, label in zip(folders, labels, strict=True)]
    else:
        labels = [inner[at] for inner, at in zip(folders, classes, strict=True)]
        groups = [inner[at + 1] if at + 1 < len(inner) else None for inner, at in zip(folders, classes, strict=True)]
        groups = groups if len(set(groups) - {None}) > 1 else [None] * len(groups)
        unused = [tuple(inner[:at]) for inner, at in zip(folders, classes, strict=True)]
    _warn_of_unused(root, unused)
    return labels, groups


def class_positions(folders: Sequence[Sequence[str]]) -> list[int] | None:
    """Return the position of each file's class among its folders if all are in usual classes that contain folders, else None.

    The folders in the classes are patients, whose names have digits, or one of the same name in each class. Folders of other
    names may be classes of a finer kind: then the result is None.
    """
    classes = [_class_at(inner) for inner in folders]
    below = {inner[at + 1] for inner, at in zip(folders, classes, strict=True) if at is not None and at + 1 < len(inner)}
    known = [at for at in classes if at is not None]
    if not below or len(known) < len(classes):
        return None
    return known if len(below) == 1 or all(re.search(r"\d", name) and not FINER.match(name) for name in below) else None


def _class_at(folders: Sequence[str]) -> int | None:
    """Return the position of the innermost folder that is named as a usual class, or None."""
    return max((at for at, name in enumerate(folders) if name.lower() in USUAL_ORDER), default=None)


def _are_classes(labels: Names) -> bool:
    distinct = {label for label in labels if label is not None}
    return 2 <= len(distinct) <= MOST_CLASSES or {label.lower() for label in distinct} <= set(USUAL_ORDER)


def _warn_of_unused(root: Path, unused: Sequence[tuple[str, ...]]) -> None:
    """Warn of folders that are neither labels nor groups; one that contains all files is only their location."""
    distinct = sorted(set(unused))
    if len(distinct) > 1:
        named = name_some(["/".join(folders) for folders in distinct if folders])
        warn_caller(
            f"{root}: folders that aren't used, neither as labels nor as groups: {named}. If they are patients or classes, open a "
            "table with the columns 'group' and 'label': Dataset.to_csv writes one to edit.",
            DataWarning,
        )
