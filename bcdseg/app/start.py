"""Start of the page's server."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass

from bcdseg.app.model_store import ModelStore
from bcdseg.extras import require
from bcdseg.web.hosts import is_loopback
from bcdseg.web.listening import listen

PURPOSE = "The page"
LONGEST_REQUEST = 900.0  # seconds; a model may be loaded first, and a large scan takes long on a slow machine
GRACE = 2.0  # seconds for requests to be finished at shutdown


@dataclass(frozen=True)
class Page:
    """Page whose server is already listening.

    Attributes:
        models: The models that the page offers.
        host: The address that it listens on.
        listener: Its open socket.
    """

    models: ModelStore
    host: str
    listener: socket.socket

    @property
    def url(self) -> str:
        """URL of the page."""
        address, port = self.listener.getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def serve(self, *, browser: bool) -> None:
        """Serve until Ctrl-C."""
        from bcdseg.app.limits import Limits
        from bcdseg.app.server import create_app
        from bcdseg.web.connections import ConnectionLimits
        from bcdseg.web.ending import BoundedServer

        limits = Limits()
        server = BoundedServer(
            create_app(self.models, host=self.host, limits=limits),
            connections=ConnectionLimits(most=limits.connections, request_seconds=LONGEST_REQUEST),
            grace=GRACE,
            log_level="warning",
        )
        if browser:
            # The socket is listening, so the browser can wait for the server. A browser in the terminal must not block the server.
            threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()
        server.run(sockets=[self.listener])


def open_page(models: Sequence[str] = (), *, host: str = "127.0.0.1", port: int = 8765, device: str = "auto") -> Page:
    """Load the given models, and listen.

    Args:
        models: Bundled names, folders or ``hf://owner/name``; the bundled ones are always offered.
        host: Address to listen on; anything but the loopback is reachable for others.
        port: Port to listen on; 0 takes any that is free.
        device: Device of the predictions.
    """
    for package in ("uvicorn", "starlette"):
        require(package, extra="app", purpose=PURPOSE)
    listener = listen(host, port)
    try:
        return Page(ModelStore(models, device=device), host, listener)
    except BaseException:
        listener.close()
        raise
