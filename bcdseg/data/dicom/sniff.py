"""Whether a source is DICOM. Every source is checked, so this imports nothing heavy and reads 132 bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bcdseg.data.regular_file import open_regular
from bcdseg.data.unexpected import EXITS

SUFFIXES = (".dcm", ".dicom", ".ima")
MARK_ENDS = 132


def is_dicom(source: Any) -> bool:
    """Whether a path, the bytes of a file, an open file or an object is DICOM, by its content.

    Old files lack the mark ``DICM``; among those only the suffixes of DICOM count.
    """
    if isinstance(source, (str, os.PathLike)):
        return _is_dicom_file(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _has_mark(bytes(source[:MARK_ENDS]))
    if hasattr(source, "read") and hasattr(source, "seek"):
        return _is_dicom_stream(source)
    return is_dataset(source)


def is_dataset(source: Any) -> bool:
    """Whether an object is a pydicom ``Dataset``, told without importing pydicom."""
    return any(base.__module__ == "pydicom.dataset" and base.__name__ == "Dataset" for base in type(source).__mro__)


def _has_mark(start: bytes) -> bool:
    return start[128:MARK_ENDS] == b"DICM"


def _is_dicom_file(path: Path) -> bool:
    try:
        with open_regular(path, str(path)) as file:
            start = file.read(MARK_ENDS)
    except (OSError, ValueError):  # reading it reports what is wrong
        return False
    return _has_mark(start) or (path.suffix.lower() in SUFFIXES and len(start) > 0)


def _is_dicom_stream(file: Any) -> bool:
    try:
        place = file.tell()
        start = file.read(MARK_ENDS)
        file.seek(place)
    except EXITS:
        raise
    except BaseException:  # an open file may be of any class; reading it reports what is wrong
        return False
    return isinstance(start, bytes) and _has_mark(start)
