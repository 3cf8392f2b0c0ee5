"""Where the library keeps what it fetched or computed."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder: ``BCDSEG_CACHE``, or the platform's own. It need not be there yet."""
    if chosen := os.environ.get("BCDSEG_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "bcdseg"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/bcdseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bcdseg"
