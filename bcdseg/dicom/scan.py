"""Scans of a DICOM source: a frame, a clip or a DICOMDIR."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bcdseg.dicom.guard import guarded, pydicom
from bcdseg.dicom.header_limits import MOST_BYTES, HeaderBudget, convert_header, plain
from bcdseg.dicom.pixels import read_pixels
from bcdseg.dicom.reader import DicomImage, open_dicom
from bcdseg.dicom.regions import find_areas
from bcdseg.errors import BcdsegError, ImageError, NotAScanError
from bcdseg.sources import open_regular, source_name
from bcdseg.types import Area, Flag, Pixels, ScanImage


@dataclass(frozen=True)
class DicomFrame:
    """One frame of an opened clip, counted from 1."""

    image: DicomImage
    number: int

    @property
    def name(self) -> str:
        """Name of the clip and number of the frame: ``clip.dcm#12``."""
        return f"{self.image.name}#{self.number}"


def read_frame(source: Any, name: str, *, keep_identifiers: bool) -> ScanImage:
    """Read a ``DicomFrame``, or a source of ``open_dicom`` that contains a single frame.

    Args:
        source: The frame, or a source; see ``open_dicom``.
        name: Name of the source.
        keep_identifiers: Whether to keep the pixels outside of the scan areas, where machines draw names and dates.
    """
    frame = source if isinstance(source, DicomFrame) else DicomFrame(open_dicom(source, name), 1)
    if not isinstance(source, DicomFrame) and len(frame.image.frames) > 1:
        count = len(frame.image.frames)
        raise ImageError(
            f"{name}: is a clip of {count} frames, not one image. model.predict gives a prediction for each frame; "
            "in a data set each frame is a file of its own."
        )
    pixels = read_pixels(replace(frame.image, name=name), frame.number - 1)
    with guarded(name):
        areas, warnings = find_areas(frame.image.header, frame.image.size)
        warnings += _header_warnings(frame.image.header)
    return ScanImage(
        source=name,
        pixels=pixels if keep_identifiers else _only(pixels, areas),
        areas=areas,
        frame=frame.number if len(frame.image.frames) > 1 else None,
        warnings=warnings,
    )


def _only(pixels: Pixels, areas: tuple[Area, ...]) -> Pixels:
    """Return the pixels with black outside of the areas."""
    if areas[0].pixels == pixels.shape[0] * pixels.shape[1]:
        return pixels
    kept = np.zeros_like(pixels)
    for area in areas:
        kept[area.window] = pixels[area.window]
    return kept


def _header_warnings(header: Any) -> tuple[Flag, ...]:
    warnings = []
    if header.get("BurnedInAnnotation") == "YES":
        warnings.append(
            Flag(
                "burned-in",
                "The file declares annotations burned into its pixels: they may name the patient. Look before you share.",
            )
        )
    modality = header.get("Modality")
    if modality and modality != "US":
        known = modality if isinstance(modality, str) and modality.isalpha() and len(modality) <= 4 else "another one"
        warnings.append(Flag("not-ultrasound", f"The modality of the file is {known}, not US (ultrasound)."))
    return tuple(warnings)


MOST_DIRECTORY_ELEMENTS = 2_000_000  # of a DICOMDIR, which has about 20 for each image
DIRECTORY_RECORD = ("ReferencedFileID", "DirectoryRecordType")


def is_directory_file(source: Any) -> bool:
    """Return whether a path is a DICOMDIR, the table of contents of a medium."""
    return isinstance(source, (str, os.PathLike)) and Path(source).name.upper() == "DICOMDIR"


def holds_many(source: Any) -> bool:
    """Return whether a DICOM source is a clip or a DICOMDIR.

    A source that can't be opened counts as one scan: reading it reports the error.
    """
    if is_directory_file(source):
        return True
    try:
        return len(open_dicom(source, source_name(source)).frames) > 1
    except BcdsegError:
        return False


def members(source: Any, every: int, *, in_folder: bool = False) -> Iterator[Any]:
    """Yield every n-th frame of a clip, the images of a DICOMDIR, or the source itself if it is one image.

    Args:
        source: A DICOM source.
        every: The n; the first frame is always included.
        in_folder: Whether to skip reports and other objects that are not scans, without an error.
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
    """Return the image files of a DICOMDIR, in its order."""
    tag_for = pydicom("pydicom.datadict").tag_for_keyword
    name = os.fspath(path)
    with guarded(name):
        budget = HeaderBudget(name, most_elements=MOST_DIRECTORY_ELEMENTS)
        with open_regular(path, name) as stored, plain(stored, name, budget) as file:
            file.most_value_bytes = MOST_BYTES
            contents = pydicom().dcmread(file, specific_tags=["DirectoryRecordSequence"])
            convert_header(contents, budget, only={tag_for("DirectoryRecordSequence"): frozenset(map(tag_for, DIRECTORY_RECORD))})
        records = contents.get("DirectoryRecordSequence") or ()
        ids = [record.get("ReferencedFileID") for record in records if record.get("DirectoryRecordType") == "IMAGE"]
        files = [_below(path.parent, [one] if isinstance(one, str) else list(one), name) for one in ids if one]
    if not files:
        raise ImageError(f"{name}: lists no image. Give the folder or the files themselves.")
    return files


def _below(folder: Path, parts: list[str], name: str) -> Path:
    """Return the file of an entry, and raise an error if it is outside of the medium's folder."""
    parts = [part.strip() for part in parts]
    if any(part in ("", ".", "..") or "/" in part or "\\" in part or ":" in part for part in parts):
        raise ImageError(f"{name}: lists a file outside of its own folder. Give the files themselves.")
    as_written, lower = folder.joinpath(*parts), folder.joinpath(*(part.lower() for part in parts))
    return lower if lower.exists() and not as_written.exists() else as_written
