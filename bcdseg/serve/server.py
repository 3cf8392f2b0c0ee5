"""The server's process: its socket, its log, its end."""

from __future__ import annotations

import logging
import math
import signal
import socket

import uvicorn

from bcdseg.errors import OptionError
from bcdseg.model.model import Model
from bcdseg.serve.app import create_app
from bcdseg.serve.limits import Limits

BACKLOG = 1024
GRACE = 5  # seconds beyond two timeouts, after which requests are dropped at the end
ENDS = (signal.SIGINT, signal.SIGTERM)


class Running:
    """A server whose address is taken; it answers while ``run`` runs.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, model: Model, *, host: str, port: int, limits: Limits) -> None:
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            create_app(model, limits),
            log_config=None,
            access_log=False,  # it would hold whatever is in an address
            server_header=False,
            timeout_graceful_shutdown=math.ceil(2 * limits.timeout) + GRACE,
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Answer until ``stop``, Ctrl-C or SIGTERM; what was taken is finished then."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Have ``run`` end; from any thread."""
        self._server.should_exit = True


def run_process(running: Running) -> None:
    """Answer as all that this process does, with a log on stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("bcdseg.serve").setLevel(logging.INFO)
    for number in ENDS:  # uvicorn hands them on when it is done: an end that was asked for is no failure
        signal.signal(number, lambda *_: None)
    running.run()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise OptionError(f"{host}:{port}: can't be listened at ({error}). Choose another --host or --port.") from None
