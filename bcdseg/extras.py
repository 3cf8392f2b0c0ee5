"""The single entry point for imports of optional dependencies."""

from __future__ import annotations

import importlib
from typing import Any

from bcdseg.errors import MissingExtraError
from bcdseg.privacy import disable_telemetry_of


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module of an extra with its telemetry disabled, or raise an error that names the purpose and the extra."""
    package = module.partition(".")[0]
    disable_telemetry_of(package)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{purpose} needs {package}, which is not installed. Run: pip install 'bcdseg[{extra}]'") from error
