"""Optional dependencies: the single entry point for their imports, with their telemetry disabled.

No scan, name or usage count leaves the machine.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

from bcdseg.errors import MissingExtraError

VARIABLES = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",  # it would query PyPI for its newest version
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime would also write a persistent device id into the user's cache folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
"""Environment variables that packages read when they are imported or started."""

SENDERS = ("openvino", "nncf")  # they report through the package openvino_telemetry, which no variable disables


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module of an extra with its telemetry disabled, or raise an error that names the purpose and the extra."""
    package = module.partition(".")[0]
    disable_telemetry_of(package)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{purpose} needs {package}, which is not installed. Run: pip install 'bcdseg[{extra}]'") from error


def disable_telemetry() -> None:
    """Set the variables that disable telemetry.

    A variable that the user has set keeps its value; child processes inherit the variables.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


def disable_telemetry_of(package: str) -> None:
    """Disable the telemetry that no environment variable disables, before a package is imported.

    Args:
        package: Package that is about to be imported; the program may have imported it already.
    """
    if package in SENDERS:
        _disable_openvino_telemetry()
    if package == "onnxruntime" and package in sys.modules:  # imported too early to have read the variable
        sys.modules[package].disable_telemetry_events()


def _disable_openvino_telemetry() -> None:
    """Block the import of OpenVINO's telemetry package; OpenVINO and NNCF then use the stubs that they contain for this case.

    The package's own opt-out is a file in the home folder. Without that file it counts as allowed: it writes a client id there, and
    forks a process for each event that it sends.
    """
    loaded = sys.modules.get("openvino_telemetry")
    if loaded is None:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # which makes its import raise ImportError
        return
    # The program imported OpenVINO first, so references to the package exist: from here on the user has declined.
    checker = sys.modules["openvino_telemetry.utils.opt_in_checker"]
    checker.OptInChecker.check = lambda *_, **__: checker.ConsentCheckResult.DECLINED
    with contextlib.suppress(RuntimeError):  # no instance exists yet
        loaded.Telemetry().consent = False
