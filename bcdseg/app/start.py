"""Start of the page's server."""

from __future__ import annotations

import getpass
import socket
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bcdseg.app.limits import Limits
from bcdseg.app.prediction_cache import ModelStore
from bcdseg.app.reviews.corrections import Corrections
from bcdseg.app.reviews.review import check_reader
from bcdseg.errors import InputError
from bcdseg.extras import require
from bcdseg.web.hosts import is_loopback, listen

LONGEST_REQUEST = 900.0  # seconds; a model may be loaded first, and a large scan takes long on a slow machine
GRACE = 2.0  # seconds for requests to be finished at shutdown


@dataclass(frozen=True)
class Page:
    """Page whose server is already listening.

    Attributes:
        models: The models that the page offers.
        host: The address that it listens on.
        listener: Its open socket.
        corrections: Folder of corrections; None where none are saved.
        reader: Name of the reader that the page suggests.
    """

    models: ModelStore
    host: str
    listener: socket.socket
    corrections: Corrections | None = None
    reader: str = "reader"

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
        from bcdseg.app.server import create_app
        from bcdseg.web.server import BoundedServer, ConnectionLimits

        limits = Limits()
        server = BoundedServer(
            create_app(self.models, host=self.host, limits=limits, corrections=self.corrections, reader=self.reader),
            connections=ConnectionLimits(most=limits.connections, request_seconds=LONGEST_REQUEST),
            grace=GRACE,
            log_level="warning",
        )
        if browser:
            # The socket is listening, so the browser can wait for the server. A browser in the terminal must not block the server.
            threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()
        server.run(sockets=[self.listener])


def open_page(
    models: Sequence[str] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    device: str = "auto",
    corrections: Path | None = None,
    reader: str | None = None,
) -> Page:
    """Load the given models, open the folder of corrections, and listen.

    Args:
        models: Bundled names, folders or ``hf://owner/name``; the bundled ones are always offered.
        host: Address to listen on; anything but the loopback is reachable for others.
        port: Port to listen on; 0 takes any that is free.
        device: Device of the predictions.
        corrections: Folder in which corrections are saved; None saves none.
        reader: Name of the reader that the page suggests; by default the name of the user of this computer.
    """
    require("uvicorn", extra="app", purpose="The page")
    name = _user() if reader is None else check_reader(reader)
    store = None if corrections is None else Corrections(corrections, most_bytes=Limits().corrections_bytes)
    listener = listen(host, port)
    try:
        return Page(ModelStore(models, device=device), host, listener, store, name)
    except BaseException:
        listener.close()
        raise


def _user() -> str:
    """Return the name of the user of this computer, if the system has a printable one."""
    try:
        return check_reader(getpass.getuser())
    except (OSError, KeyError, ImportError, InputError):
        return "reader"
