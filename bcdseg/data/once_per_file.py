"""Work on a file is done once, and again when its size or time of change is another."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
MOST = 200_000  # files; what is found in them should be small


def once_per_file(work: Callable[[Path], Found]) -> Callable[[Path], Found]:
    """Keep in memory what a function finds in a file."""

    @lru_cache(maxsize=MOST)
    def kept(path: Path, _changed: int, _size: int) -> Found:
        return work(path)

    @wraps(work)
    def found(path: Path) -> Found:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return work(path)  # its error says what to do
        return kept(path, stat.st_mtime_ns, stat.st_size)

    return found
