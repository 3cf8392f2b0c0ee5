"""Host names that a server accepts.

A foreign web page can make its own name resolve to this machine (DNS rebinding) and then read the server's responses.
Therefore the ``Host`` header of a request must contain one of the server's own names.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"


class AllowedHosts:
    """Host names of a server: those of the loopback, the one that it listens on, and others that were given.

    A server that is reachable for others also accepts its machine's name, and any IP address, which needs no DNS.

    Args:
        host: The address that it listens on.
        names: Other names, without ports; ``*`` stands for any name.
    """

    def __init__(self, host: str, names: Iterable[str] = ()) -> None:
        given = {name.lower() for name in names}
        self._any = ANY in given
        self._open = not is_loopback(host)
        self._names = LOOPBACK | {host.lower()} | given | ({socket.gethostname().lower()} if self._open else set())

    def __contains__(self, header: str) -> bool:
        """Return whether a value of the header ``Host`` is one of them."""
        if self._any:
            return True
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._open and is_address(name))


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine alone."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(name: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
