"""The server's process: its socket, its log, its end."""

from __future__ import annotations

import logging
import math
import signal
import socket
from collections.abc import Callable

import uvicorn

from bcdseg.errors import OptionError
from bcdseg.model.model import Model
from bcdseg.serve.app import create_app
from bcdseg.serve.limits import Limits

BACKLOG = 1024
GRACE = 5  # seconds beyond two timeouts, after which requests are dropped at the end


def run_server(model: Model, *, host: str, port: int, limits: Limits, announce: Callable[[str], None]) -> None:
    """Answer requests until the process is told to end (Ctrl-C, SIGTERM); what was taken is finished then.

    Args:
        model: Answers.
        host: Address to listen at.
        port: 0 takes a free one.
        limits: What is taken at most.
        announce: Gets the address once it is taken, before the model is warm.
    """
    listening = _listen(host, port)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("bcdseg.serve").setLevel(logging.INFO)
    config = uvicorn.Config(
        create_app(model, limits),
        log_config=None,
        access_log=False,  # it would hold whatever is in an address
        server_header=False,
        timeout_graceful_shutdown=math.ceil(2 * limits.timeout) + GRACE,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn hands them on when it is done: the end asked for is no failure
        signal.signal(number, lambda *_: None)
    shown = f"[{host}]" if ":" in host else host
    announce(f"http://{shown}:{listening.getsockname()[1]}")
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise OptionError(f"{host}:{port}: can't be listened at ({error}). Choose another --host or --port.") from None
