"""Unfinished files and folders: their hidden names, the locks of their writers, and the removal of what killed writers left.

A writer locks its unfinished file or folder. The system releases the lock when the writer ends, also when it is killed, so an
unlocked one is a left-over. Where locks aren't supported (Windows, some network drives), a left-over is one that is a day old.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from bcdseg.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PART, ASIDE = ".bcdseg-part", ".bcdseg-old"
LONGEST = 255
"""Largest number of bytes of a file name that common file systems allow."""

READABLE = 60  # bytes of the final name in a hidden name
DAY = 24 * 3600.0


def fit_name(name: str, longest: int = LONGEST) -> str:
    """Return a file name unchanged if it is short enough, else its start and a hash of the whole name.

    The result depends on the name alone, and two names never share one.

    Args:
        name: File name without folders.
        longest: Largest number of bytes in UTF-8.
    """
    encoded = name.encode("utf-8", "surrogatepass")
    if len(encoded) <= longest:
        return name
    mark = f"~{blake2b(encoded, digest_size=8).hexdigest()}"
    return encoded[: longest - len(mark)].decode("utf-8", "ignore") + mark


def part_of(path: Path) -> Path:
    """Return a free hidden name next to a path, for its content while it is written."""
    return _hidden(path, PART)


def aside_of(path: Path) -> Path:
    """Return a free hidden name next to a path, for the content that is about to be replaced."""
    return _hidden(path, ASIDE)


@contextmanager
def locked(path: Path, handle: int | None = None) -> Iterator[bool]:
    """Lock a file or folder for as long as the context lasts.

    Args:
        path: File or folder, which exists.
        handle: Descriptor of the open file; a folder is opened here.

    Yields:
        True if it still exists: a cleanup may have removed it between its creation and the lock.
    """
    own = None if handle is not None or fcntl is None else os.open(path, os.O_RDONLY)
    locked = handle if own is None else own
    try:
        if fcntl is not None and locked is not None:
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(locked, fcntl.LOCK_EX)
            yield _is_same(path, locked)
        else:
            yield True
    finally:
        if own is not None:
            os.close(own)


def lock_until_closed(handle: int) -> bool:
    """Lock an open file until it is closed, and return False if another process has locked it."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # some file systems have no locks
    return True


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of a path left next to it, as far as that is possible."""
    for part in _siblings(path, PART):
        _remove_dead(part)
    if path.exists():
        for aside in _siblings(path, ASIDE):
            _remove_dead(aside)


def is_part(path: Path) -> bool:
    """Return whether a path is an unfinished file or folder, by its name."""
    return path.name.startswith(".") and path.name.endswith(PART)


def remove_parts_below(folder: Path) -> None:
    """Remove the unfinished files that killed writers left in a folder and below it."""
    for part in folder.rglob(f".*{PART}"):
        _remove_dead(part)


def restore(path: Path, patience: float = 2.0) -> bool:
    """Move a folder back to its path, from where a writer that was killed during a replacement left it.

    Args:
        path: Path of the folder.
        patience: Seconds to wait for a writer that is still active.

    Returns:
        True if something exists at the path.

    Raises:
        OutputError: The folder can't be moved.
    """
    end = time.monotonic() + patience
    while not os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a name that is too long
        asides = _siblings(path, ASIDE)
        if not asides:
            return os.path.exists(path)  # noqa: PTH110
        with suppress(FileNotFoundError), _claimed(asides[0]) as dead:
            if (dead or time.monotonic() > end) and not path.exists():
                _move_back(asides[0], path)
                return True
        time.sleep(0.01)
    return True


def _move_back(aside: Path, path: Path) -> None:
    try:
        aside.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: a writer that was stopped left it at {aside}, and it can't be moved back ({error.strerror}). Rename it."
        ) from error


def _hidden(path: Path, ending: str) -> Path:
    return path.with_name(f".{fit_name(path.name, READABLE)}.{secrets.token_hex(8)}{ending}")


def _siblings(path: Path, ending: str) -> list[Path]:
    """Return the existing hidden names that ``_hidden`` made for a path."""
    form = re.compile(rf"\.{re.escape(fit_name(path.name, READABLE))}\.[0-9a-f]{{16}}{re.escape(ending)}")
    try:
        with os.scandir(path.parent) as entries:
            return [path.with_name(entry.name) for entry in entries if form.fullmatch(entry.name)]
    except OSError:
        return []


def _remove_dead(path: Path) -> None:
    with suppress(OSError), _claimed(path) as dead:
        if dead and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif dead:
            path.unlink(missing_ok=True)


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Lock a hidden file or folder unless a writer has locked it, and yield whether its writer is dead."""
    if fcntl is None:
        yield _is_old(path)
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        yield _is_dead(path, handle)
    finally:
        os.close(handle)


def _is_dead(path: Path, handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return _is_old(path)
    return True


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > DAY


def _is_same(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
