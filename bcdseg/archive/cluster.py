"""Ray, started on this machine alone, or joined where it runs: no dashboard, nothing told to anybody."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bcdseg.errors import ClusterError
from bcdseg.extras import require
from bcdseg.infer.graph_runtime import cores

SILENT = {"RAY_enable_metrics_collection": "0"}  # usage statistics: see bcdseg.privacy
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # on every system: listens to this machine alone
OBJECT_STORE = 256 * 2**20  # bytes of shared memory for answers that wait to be written


def ray() -> Any:
    """The library."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    return require("ray", extra="ray", purpose="The engine ray")


@contextmanager
def connected(address: str | None, *, workers: int | None) -> Iterator[Any]:
    """Ray at an address, or one of this machine's own that is gone afterwards. One that is there already is left as it is."""
    if address is None:
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
    library = ray()
    if library.is_initialized():
        yield library
        return
    with tempfile.TemporaryDirectory(prefix="bcdseg-ray-", ignore_cleanup_errors=True) as folder:  # short: sockets lie in it
        try:
            _join(library, _own(folder, workers) if address is None else {"address": address})
            yield library
        finally:
            library.shutdown()


def _join(library: Any, options: dict[str, Any]) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)  # it would tell each time that it asks for a token, as it should
    try:
        library.init(**options, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"Ray can't be reached at the address {options['address']!r}: {error}") from error


def _own(folder: str, workers: int | None) -> dict[str, Any]:
    return {
        "address": "local",
        "num_cpus": workers or cores(),
        "object_store_memory": OBJECT_STORE,
        "include_dashboard": False,
        "configure_logging": False,
        "_temp_dir": folder,
    }
