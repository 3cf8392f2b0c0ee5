"""Start of the page's server."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass

from bcdseg.app.prediction_cache import Shelf
from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.web.hosts import is_loopback

PURPOSE = "The page"
LONGEST_REQUEST = 900.0  # seconds; a model that is loaded first, and a large scan on a slow machine
GRACE = 2.0  # seconds for requests when the page ends


@dataclass(frozen=True)
class Page:
    """A page that is listened for already.

    Attributes:
        shelf: The models that it offers.
        host: The address that it listens at.
        listener: Its open socket.
    """

    shelf: Shelf
    host: str
    listener: socket.socket

    @property
    def url(self) -> str:
        """Where to open it."""
        address, port = self.listener.getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def serve(self, *, browser: bool) -> None:
        """Answer until Ctrl-C."""
        from bcdseg.app.limits import Limits
        from bcdseg.app.server import create_app
        from bcdseg.web.connections import ConnectionLimits
        from bcdseg.web.ending import BoundedServer

        limits = Limits()
        server = BoundedServer(
            create_app(self.shelf, host=self.host, limits=limits),
            connections=ConnectionLimits(most=limits.connections, request_seconds=LONGEST_REQUEST),
            grace=GRACE,
            log_level="warning",
        )
        if browser:
            # The socket listens: a browser waits for the server. One that runs in the terminal must not keep it waiting.
            threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()
        server.run(sockets=[self.listener])


def open_page(models: Sequence[str] = (), *, host: str = "127.0.0.1", port: int = 8765, device: str = "auto") -> Page:
    """Load the models that were asked for, and listen.

    Args:
        models: Bundled names, folders or ``hf://owner/name``; the bundled ones are always offered.
        host: Where to listen; anything but the loopback lets others in.
        port: 0 takes any that is free.
        device: Where predictions run.
    """
    for package in ("uvicorn", "starlette"):
        require(package, extra="app", purpose=PURPOSE)
    listener = _listen(host, port)
    try:
        return Page(Shelf(models, device=device), host, listener)
    except BaseException:
        listener.close()
        raise


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # without the address, which is told
        raise OptionError(
            f"Can't listen at {host}, port {port}: {reason}. Choose another with --port; 0 takes any that is free."
        ) from error
