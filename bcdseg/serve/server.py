"""Server process: socket, log, shutdown."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence

from bcdseg.model.model import Model
from bcdseg.serve.app import create_app
from bcdseg.serve.limits import Limits
from bcdseg.web.hosts import AllowedHosts, listen
from bcdseg.web.server import BoundedServer, ConnectionLimits

ENDS = (signal.SIGINT, signal.SIGTERM)
LOG = logging.getLogger("bcdseg.serve")


class Running:
    """Server that is bound to its address, and responds while ``run`` runs.

    Attributes:
        port: Port that it listens on.
    """

    def __init__(self, model: Model, *, host: str, port: int, limits: Limits, allowed_hosts: Sequence[str] = ()) -> None:
        self._socket = listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._app = create_app(model, limits, hosts=AllowedHosts(host, allowed_hosts))
        connections = ConnectionLimits(
            most=limits.connections,
            head_seconds=limits.head_timeout,
            request_seconds=3 * limits.timeout,  # to arrive, to be predicted, and to be read by the client
        )
        self._server = BoundedServer(self._app, connections=connections, grace=limits.grace, log_config=None)

    def run(self) -> bool:
        """Serve until ``stop``, Ctrl-C or SIGTERM, and finish the accepted requests.

        Returns:
            Whether all were finished in time. Else threads of the server may still be running.
        """
        self._server.run(sockets=[self._socket])
        return bool(self._app.state.finished)

    def stop(self) -> None:
        """Make ``run`` end; this can be called from any thread."""
        self._server.should_exit = True


def run_process(running: Running) -> None:
    """Serve as the only task of this process, with a log on stderr. The process ends in bounded time, also with unfinished work."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    LOG.setLevel(logging.INFO)
    for number in ENDS:  # uvicorn raises the signals again at its end, and a requested shutdown is not a failure
        signal.signal(number, lambda *_: None)
    if not running.run():
        LOG.warning("ended with work that was not finished in time")
        logging.shutdown()
        os._exit(1)  # a computing thread would keep the process alive
