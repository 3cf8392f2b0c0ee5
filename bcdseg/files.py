"""Atomic writing of files and folders, and the cache folder.

The guarantees:

- **A reader** gets all of a file or none of it, and the old one or the new one when it is replaced. So does the reader of a folder
  on Linux; on other systems a folder that is replaced is missing for an instant.
- **A kill at any moment** leaves the old or the new one at the path. If the system can't swap two folders, the old one may be left
  next to its path: ``restore`` moves it back, which loading a model does. Hidden files and folders that a killed writer left are
  removed by the next durable write of the same path.
- **A power loss** leaves the old or the new one only with ``durable``, which waits for the disk: for models, data sets, splits and
  the state from which a training or a benchmark resumes. Predictions and reports are not durable: they may be empty afterwards, and
  are written again with ``overwrite``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from bcdseg.errors import OutputError, OutputExistsError
from bcdseg.messages import name_some
from bcdseg.partial import LONGEST, aside_of, fit_name, is_part, locked, part_of, remove_leftovers, remove_parts_below, restore

__all__ = [
    "LONGEST",
    "append_line",
    "can_write",
    "check_free",
    "check_writable",
    "exists",
    "fit_name",
    "is_part",
    "make_folder",
    "remove_parts_below",
    "restore",
    "sync_all",
    "sync_folder",
    "write_chunks",
    "write_folder",
    "write_together",
    "write_whole",
]

EXCHANGE, HERE = 2, -100
"""Linux's RENAME_EXCHANGE and AT_FDCWD."""

CANT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
MOVES_OPEN_FILES = os.name == "posix"


def write_whole(path: Path, content: bytes, *, overwrite: bool = False, durable: bool = False) -> Path:
    """Write a file atomically, so that a reader gets all of it or none of it.

    Args:
        path: Path of the file; missing folders above it are created.
        content: Complete content of the file.
        overwrite: Whether a file that exists may be replaced.
        durable: Whether to wait until a power loss can't undo the write.

    Raises:
        OutputExistsError: The file exists and may not be replaced.
        OutputError: The file can't be written.
    """
    return _write(path, lambda: (content,), overwrite=overwrite, durable=durable)


def write_chunks(path: Path, chunks: Callable[[], Iterable[bytes]], *, overwrite: bool = False) -> Path:
    """Write a file atomically from parts, so that its size isn't limited by the memory.

    Args:
        path: Path of the file; missing folders above it are created.
        chunks: Function that returns the parts of its content from the first on.
        overwrite: Whether a file that exists may be replaced.

    Raises:
        OutputExistsError: The file exists and may not be replaced.
        OutputError: The file can't be written, or a part can't be read.
    """
    return _write(path, chunks, overwrite=overwrite, durable=False)


def _write(path: Path, chunks: Callable[[], Iterable[bytes]], *, overwrite: bool, durable: bool) -> Path:
    check_free([path], overwrite=overwrite)
    try:
        make_folder(path.parent, durable=durable)
        if durable:
            remove_leftovers(path)
        while not _written(path, chunks, durable):
            pass
    except OSError as error:
        raise _cant_write(path, error) from error
    return path


def write_together(contents: Mapping[Path, bytes], *, overwrite: bool = False) -> None:
    """Write files that mean something only together, of which the last one is opened first, such as weights and their description.

    While they are replaced, the last one is missing for an instant: a kill at any moment leaves all old files, all new ones, or no
    last one, but never a last one with files that belong to another.

    Args:
        contents: Contents of the files by path; missing folders above them are created.
        overwrite: Whether files that exist may be replaced.

    Raises:
        OutputExistsError: A file exists and may not be replaced.
        OutputError: A file can't be written.
    """
    check_free(contents, overwrite=overwrite)
    parts = {path: part_of(path) for path in contents}
    *_, last = contents
    try:
        for path, part in parts.items():
            make_folder(path.parent)
            with part.open("xb") as file:
                file.write(contents[path])
        last.unlink(missing_ok=True)
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise _cant_write(last, error) from error
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """Write a folder of files durably and atomically, in place of the folder that exists.

    Raises:
        OutputError: The folder can't be written.
    """
    try:
        make_folder(folder.parent, durable=True)
        restore(folder)
        remove_leftovers(folder)
        while not _folder_written(folder, contents):
            pass
    except OSError as error:
        raise _cant_write(folder, error) from error
    return folder


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file.

    An incomplete line that a killed process left is recognised by its missing line end.
    """
    try:
        with path.open("ab", buffering=0) as file:
            file.write(line)
    except OSError as error:
        raise _cant_write(path, error) from error


def make_folder(folder: Path, *, durable: bool = False) -> None:
    """Create a folder and those above it where they are missing.

    Args:
        folder: The folder.
        durable: Whether to wait until a power loss can't undo it.

    Raises:
        OSError: A folder can't be created, or would be named ``~``: neither Python nor a shell expands ``--out=~/results``.
    """
    missing = _missing(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing if durable else ():
        sync_folder(one.parent)


def _missing(folder: Path) -> list[Path]:
    missing = [one for one in (folder, *folder.parents) if not exists(one)]
    if any(one.name == "~" for one in missing):
        raise OSError(errno.EINVAL, f"'~' is not expanded here; the home folder is {Path.home()}")
    return missing


def check_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise an error if a file exists already and may not be replaced."""
    taken = [] if overwrite else [path for path in paths if exists(path)]
    if taken:
        raise OutputExistsError(
            f"{name_some(taken, 1)}: exists already. Choose another place, or allow it: overwrite=True, --overwrite."
        )


def check_writable(folder: Path) -> None:
    """Raise an OutputError if files can't be written to a folder, or the folder can't be created."""
    try:
        _missing(folder)
    except OSError as error:
        raise _cant_write(folder, error) from error
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if exists(one))
    if not place.is_dir() or not can_write(place, 1):
        reason = "can't be written" if place.is_dir() else "is not a folder"
        raise OutputError(f"{folder}: can't be written ({place} {reason}). Choose another place.")


def exists(path: Path) -> bool:
    """Return whether a path exists; False for an impossible one, such as a name that is too long."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises


def can_write(folder: Path, size: int) -> bool:
    """Return whether a file of this size can be written to a folder."""
    part = part_of(folder / "probe")
    try:
        with part.open("xb") as file:
            file.write(bytes(size))
    except OSError:
        return False
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return True


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, if the system supports it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_all() -> None:
    """Wait until everything that was written is on the disk, if the system supports it: one call flushes many files."""
    if hasattr(os, "sync"):
        os.sync()


def _written(path: Path, chunks: Callable[[], Iterable[bytes]], durable: bool) -> bool:
    """Write a file under a hidden name and move it; return False if a cleanup removed the hidden file before it was locked."""
    part = part_of(path)
    try:
        with part.open("xb") as file, locked(part, file.fileno()) as there:
            if not there:
                return False
            _fill(file, chunks(), durable)
            if MOVES_OPEN_FILES:  # the file is still locked
                part.replace(path)
        if not MOVES_OPEN_FILES:
            part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)
    return True


def _folder_written(folder: Path, contents: Mapping[str, bytes]) -> bool:
    new = part_of(folder)
    new.mkdir()
    try:
        with locked(new) as there:
            if not there:
                return False
            for name, content in contents.items():
                with (new / name).open("xb") as file:
                    _fill(file, (content,), durable=True)
            sync_folder(new)
            _put(new, folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)  # the replaced folder, or one that could not be finished
    return True


def _fill(file: BinaryIO, chunks: Iterable[bytes], durable: bool) -> None:
    file.writelines(chunks)
    file.flush()
    if durable:
        os.fsync(file.fileno())


def _put(new: Path, folder: Path) -> None:
    """Move a folder to the path of another one, which takes its place if the system can swap the two."""
    if not folder.exists():
        new.replace(folder)
    elif not _exchange(new, folder):
        _put_aside_first(new, folder)


def _put_aside_first(new: Path, folder: Path) -> None:
    """Replace a folder by two moves, between which nothing is at the path."""
    aside = aside_of(folder)
    with locked(folder):  # so that no reader mistakes it for the left-over of a dead writer
        folder.replace(aside)
        try:
            new.replace(folder)
        except OSError:
            aside.replace(folder)
            raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap the names of two folders atomically, and return False if the system or the file system can't."""
    rename = _renameat2()
    if rename is None:
        return False
    if rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in CANT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


@cache
def _renameat2() -> Any:
    """Return the C library's ``renameat2``, or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function


def _cant_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: can't be written ({error.strerror or error}). Choose another place.")


def cache_folder() -> Path:
    """Return the user's cache folder: ``BCDSEG_CACHE``, or the platform's own; it need not exist."""
    if chosen := os.environ.get("BCDSEG_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "bcdseg"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/bcdseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bcdseg"
