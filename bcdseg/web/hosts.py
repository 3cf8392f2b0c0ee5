"""Which names a server answers under.

A web page of somebody else can make its own name point at this machine (DNS rebinding) and then read what the server answers.
So the name that a browser asked for, the header ``Host``, must be one of the server's own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"


class AllowedHosts:
    """The names of a server: those of the loopback, the one that it listens at, and others that were given.

    A server that others can reach also answers under its machine's name, and under any number, which needs no DNS.

    Args:
        host: The address that it listens at.
        names: Other names, without ports; ``*`` stands for any name.
    """

    def __init__(self, host: str, names: Iterable[str] = ()) -> None:
        given = {name.lower() for name in names}
        self._any = ANY in given
        self._open = not is_loopback(host)
        self._names = LOOPBACK | {host.lower()} | given | ({socket.gethostname().lower()} if self._open else set())

    def __contains__(self, header: str) -> bool:
        """Whether a value of the header ``Host`` is one of them."""
        if self._any:
            return True
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._open and is_address(name))


def is_loopback(host: str) -> bool:
    """Return whether an address to listen at can be reached from this machine alone."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(name: str) -> bool:
    """Return whether a host is given by number."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
