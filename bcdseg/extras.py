"""The one gateway to optional dependencies."""

from __future__ import annotations

import importlib
from typing import Any

from bcdseg.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module of an extra, or say what needs it and which extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(f"{purpose} needs {package}, which is not installed. Run: pip install 'bcdseg[{extra}]'") from error
