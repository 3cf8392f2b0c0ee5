"""Image sources: their names and kinds, regular files, and accepted sizes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any, BinaryIO, Union

from numpy.typing import NDArray
from PIL import Image

from bcdseg.errors import ImageError

SUFFIXES = (".dcm", ".dicom", ".ima")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
MARK_ENDS = 132


def is_dicom(source: Any) -> bool:
    """Return whether a path, the bytes of a file, an open file or an object is DICOM, judged by its content.

    Old files lack the prefix ``DICM``; among those only files with a DICOM suffix count.
    """
    if isinstance(source, (str, os.PathLike)):
        return _is_dicom_file(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _has_mark(bytes(source[:MARK_ENDS]))
    if hasattr(source, "read") and hasattr(source, "seek"):
        return _is_dicom_stream(source)
    return is_dataset(source)


def is_video(source: Any) -> bool:
    """Return whether a source is the path of a video clip, by its suffix."""
    return isinstance(source, (str, os.PathLike)) and os.fspath(source).lower().endswith(VIDEO_SUFFIXES)


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is NIfTI, by its suffix."""
    return os.fspath(path).lower().endswith(NIFTI_SUFFIXES)


def is_dataset(source: Any) -> bool:
    """Return whether an object is a pydicom ``Dataset``, without importing pydicom."""
    return any(base.__module__ == "pydicom.dataset" and base.__name__ == "Dataset" for base in type(source).__mro__)


def _has_mark(start: bytes) -> bool:
    return start[128:MARK_ENDS] == b"DICM"


def _is_dicom_file(path: Path) -> bool:
    try:
        with open_regular(path, str(path)) as file:
            start = file.read(MARK_ENDS)
    except (OSError, ValueError):  # reading the file reports the error
        return False
    return _has_mark(start) or (path.suffix.lower() in SUFFIXES and len(start) > 0)


def _is_dicom_stream(file: Any) -> bool:
    try:
        place = file.tell()
        start = file.read(MARK_ENDS)
        file.seek(place)
    except EXITS:
        raise
    except BaseException:  # an open file may be of any class; reading it reports the error
        return False
    return isinstance(start, bytes) and _has_mark(start)


def open_regular(path: Path, name: str) -> BinaryIO:
    """Open a regular file, or a link to one, to read its bytes.

    Args:
        path: The file.
        name: Name of the source in errors.

    Raises:
        ImageError: The path leads to a pipe, a device or a socket.
        OSError: The file can't be opened.
    """
    if not _is_other(path.stat().st_mode):
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - returned open
        if not _is_other(os.fstat(file.fileno()).st_mode):  # the file may have been replaced meanwhile
            return file
        file.close()
    raise ImageError(
        f"{name}: is a pipe, a device or a socket, which may never end. Give a regular file, or read it and give its bytes."
    )


def _is_other(mode: int) -> bool:
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))  # opening a folder reports that it is one


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


EXITS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Exceptions that end a program or a generator; all others are errors of the file.

Decoders written in Rust raise classes that are not an ``Exception``.
"""


def unexpected_error(name: str, what: str, error: BaseException) -> ImageError:
    """Return the error for an image whose file or prediction raised an exception of an unexpected class.

    The exception's message is left out, since it may quote the file.

    Args:
        name: Path or name of the image.
        what: Description of what can't be done with the image.
        error: The exception.
    """
    return ImageError(f"{name}: {what} ({type(error).__name__}). Copy or export it again; if that does not help, report it.")


ImageSource = Union[str, "os.PathLike[str]", bytes, IO[bytes], Image.Image, NDArray[Any], Any]
"""A path, the bytes of a file, an open binary file, a PIL image, a numpy array, a torch tensor or a pydicom ``Dataset``."""


SMALLEST, LARGEST = 16, 10_000


def source_name(source: ImageSource) -> str:
    """Return the name of a source for messages and tables."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    named = getattr(source, "filename" if isinstance(source, Image.Image) else "name", None)
    if isinstance(named, str) and named:
        return named
    shape = getattr(source, "shape", None)
    if shape is not None:
        return f"{type(source).__name__} of shape {tuple(shape)}"
    if is_dataset(source):
        return str(getattr(source, "filename", None) or "DICOM data set")
    return type(source).__name__


_TOO_LARGE = "Crop it or make it smaller first."


def check_size(height: int, width: int, name: str) -> None:
    """Raise an error if an image is too small to be a scan, or too large for the memory."""
    if height < SMALLEST or width < SMALLEST:
        raise ImageError(f"{name}: is {height}x{width} pixels; the smallest that is read is {SMALLEST}x{SMALLEST}.")
    if height > LARGEST or width > LARGEST:
        raise ImageError(f"{name}: is {height}x{width} pixels; the largest that is read is {LARGEST}x{LARGEST}. {_TOO_LARGE}")
