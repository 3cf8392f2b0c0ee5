"""The one gateway to optional dependencies."""

from __future__ import annotations

import importlib
from typing import Any

from bcdseg.errors import MissingExtraError


def require(module: str, *, extra: str) -> Any:
    """Import a module of an extra, or say which extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"This needs {module.partition('.')[0]}, which is not installed: pip install 'bcdseg[{extra}]'."
        ) from error
