"""Files that are opened by path: regular ones only, since pipes and devices may never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from bcdseg.errors import ImageError


def open_regular(path: Path, name: str) -> BinaryIO:
    """Open a regular file, or a link to one, to read its bytes.

    Args:
        path: The file.
        name: The source's name in an error.

    Raises:
        ImageError: The path leads to a pipe, a device or a socket.
        OSError: It can't be opened.
    """
    if not _is_other(path.stat().st_mode):
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - returned open
        if not _is_other(os.fstat(file.fileno()).st_mode):  # replaced meanwhile
            return file
        file.close()
    raise ImageError(
        f"{name}: is a pipe, a device or a socket, which may never end. Give a regular file, or read it and give its bytes."
    )


def _is_other(mode: int) -> bool:
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))  # opening a folder says that it is one


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
