"""The one gateway to optional packages of this room."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bcdseg.errors import MissingExtraError


def optional(module: str, extra: str, purpose: str) -> Any:
    """Import a package that only an extra installs.

    Raises:
        MissingExtraError: It is not installed; the message names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(f"{purpose} needs {package}, which is not installed. Run: pip install 'bcdseg[{extra}]'") from error
