"""Server that shuts down in bounded time, whatever its threads are doing."""

from __future__ import annotations

import math
import os
import threading
import time
from types import FrameType
from typing import Any

import uvicorn

from bcdseg.web.connections import ConnectionLimits, limited_protocol
from bcdseg.web.listening import BACKLOG

MARGIN = 3.0  # seconds beyond the grace period, for an orderly shutdown


class BoundedServer(uvicorn.Server):
    """uvicorn server with limits on connections, and on the duration of its shutdown.

    Args:
        app: The ASGI application.
        connections: Limits on connections.
        grace: Seconds for requests to be finished at shutdown; then they are dropped.
        options: Options of ``uvicorn.Config``.
    """

    def __init__(self, app: Any, *, connections: ConnectionLimits, grace: float, **options: Any) -> None:
        config = uvicorn.Config(
            app,
            http=limited_protocol(connections),
            ws="none",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=math.ceil(grace),
            **options,
        )
        super().__init__(config)
        self._grace = grace
        self._ending = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down on a signal; the process is ended where threads prevent a shutdown in time."""
        super().handle_exit(sig, frame)
        if not self._ending:
            self._ending = True
            threading.Thread(target=self._end_process, name="bcdseg-end", daemon=True).start()

    def _end_process(self) -> None:
        time.sleep(self._grace + MARGIN)
        os._exit(1)
