"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from bcdseg.errors import OutputExistsError


def write_whole(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a text file beside its place and move it there, so that nobody ever sees half of it.

    Raises:
        OutputExistsError: A file is there and ``overwrite`` is false.
    """
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: is there already. Give another name, or overwrite=True.")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
