"""Files written whole or not at all, and nothing replaced that nobody asked to replace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bcdseg.errors import OutputError, OutputExistsError


def write_whole(path: Path, content: bytes, *, overwrite: bool = False) -> Path:
    """Write a file so that a reader sees all of it or none of it."""
    check_free([path], overwrite=overwrite)
    try:
        return _write(path, content)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror}). Choose another place.") from error


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file. One that a killed process has left half is told by its missing end."""
    try:
        with path.open("ab", buffering=0) as file:
            file.write(line)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror}). Choose another place.") from error


def check_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise when a file is there already and may not be replaced."""
    taken = [] if overwrite else [path for path in paths if path.exists()]
    if taken:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise OutputExistsError(
            f"{taken[0]}{more}: exists already. Choose another place, or allow it: overwrite=True, --overwrite."
        )
