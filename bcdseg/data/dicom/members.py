"""The single scans of a DICOM source: the frames of a clip, the images that a DICOMDIR lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bcdseg.data.dicom.deflated import plain
from bcdseg.data.dicom.guard import guarded, pydicom
from bcdseg.data.dicom.header_limits import MOST_BYTES, HeaderBudget, convert_header
from bcdseg.data.dicom.opening import open_dicom
from bcdseg.data.dicom.scan import DicomFrame
from bcdseg.data.images import source_name
from bcdseg.data.regular_file import open_regular
from bcdseg.errors import BcdsegError, ImageError, NotAScanError

MOST_DIRECTORY_ELEMENTS = 2_000_000  # of a DICOMDIR, which has some 20 for each image
DIRECTORY_RECORD = ("ReferencedFileID", "DirectoryRecordType")


def is_directory_file(source: Any) -> bool:
    """Whether a path is a DICOMDIR, the table of contents of a medium."""
    return isinstance(source, (str, os.PathLike)) and Path(source).name.upper() == "DICOMDIR"


def holds_many(source: Any) -> bool:
    """Whether a DICOM source is a clip or a DICOMDIR. What can't be opened is one scan: reading it says what is wrong."""
    if is_directory_file(source):
        return True
    try:
        return len(open_dicom(source, source_name(source)).frames) > 1
    except BcdsegError:
        return False


def members(source: Any, every: int, *, in_folder: bool = False) -> Iterator[Any]:
    """Each n-th frame of a clip from the first on, the images of a DICOMDIR, or the source itself when it is one image.

    Args:
        source: A DICOM source.
        every: The n.
        in_folder: Whether reports and other objects that are no scan are left out in silence.
    """
    if is_directory_file(source):
        for path in listed(Path(source)):
            yield from members(path, every, in_folder=True)
        return
    try:
        image = open_dicom(source, source_name(source))
    except NotAScanError:
        if not in_folder:
            yield source
        return
    except (BcdsegError, OSError):
        yield source
        return
    if len(image.frames) == 1:
        yield source
        return
    for number in range(1, len(image.frames) + 1, every):
        yield DicomFrame(image, number)


def listed(path: Path) -> list[Path]:
    """The image files of a DICOMDIR, in its order."""
    tag_for = pydicom("pydicom.datadict").tag_for_keyword
    name = os.fspath(path)
    with guarded(name):
        budget = HeaderBudget(name, most_elements=MOST_DIRECTORY_ELEMENTS)
        with open_regular(path, name) as stored, plain(stored, name, budget) as file:
            file.most_at_once = MOST_BYTES
            contents = pydicom().dcmread(file, specific_tags=["DirectoryRecordSequence"])
            convert_header(contents, budget, only={tag_for("DirectoryRecordSequence"): frozenset(map(tag_for, DIRECTORY_RECORD))})
        records = contents.get("DirectoryRecordSequence") or ()
        ids = [record.get("ReferencedFileID") for record in records if record.get("DirectoryRecordType") == "IMAGE"]
        files = [_below(path.parent, [one] if isinstance(one, str) else list(one), name) for one in ids if one]
    if not files:
        raise ImageError(f"{name}: lists no image. Give the folder or the files themselves.")
    return files


def _below(folder: Path, parts: list[str], name: str) -> Path:
    """The file of an entry; one that leads out of the medium's folder is refused."""
    parts = [part.strip() for part in parts]
    if any(part in ("", ".", "..") or "/" in part or "\\" in part or ":" in part for part in parts):
        raise ImageError(f"{name}: lists a file outside of its own folder. Give the files themselves.")
    as_written, lower = folder.joinpath(*parts), folder.joinpath(*(part.lower() for part in parts))
    return lower if lower.exists() and not as_written.exists() else as_written
