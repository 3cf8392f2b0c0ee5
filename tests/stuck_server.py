"""A server whose model never returns from a scan: stuck_server.py MODEL prints the port."""

from __future__ import annotations

import sys
import threading
from typing import Any

import bcdseg
from bcdseg.serve.limits import Limits
from bcdseg.serve.server import Running, run_process
from bcdseg.types import ScanImage


def stuck(model: bcdseg.Model) -> bcdseg.Model:
    predict = model.predict

    def never(source: Any, **options: Any) -> Any:
        if isinstance(source[0], ScanImage):
            threading.Event().wait()
        return predict(source, **options)

    model.predict = never  # type: ignore[method-assign]
    return model


if __name__ == "__main__":
    model = stuck(bcdseg.load(sys.argv[1], device="cpu", runtime="torch"))
    running = Running(model, host="127.0.0.1", port=0, limits=Limits(timeout=1, grace=1))
    print("port", running.port, flush=True)
    run_process(running)
