"""The one gateway to optional dependencies."""

from __future__ import annotations

import importlib
import os
from typing import Any

from bcdseg.errors import MissingExtraError

BEFORE = {"albumentations": {"NO_ALBUMENTATIONS_UPDATE": "1"}}
"""Environment variables that a package must find when it is imported: this one asks the network for its newest version."""


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module of an extra, or say what needs it and which extra to install."""
    package = module.partition(".")[0]
    for name, value in BEFORE.get(package, {}).items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{purpose} needs {package}, which is not installed. Run: pip install 'bcdseg[{extra}]'") from error
