"""Addresses that a server listens at, and host names that it accepts.

A foreign web page can make its own name resolve to this machine (DNS rebinding) and then read the server's responses.
Therefore the ``Host`` header of a request must contain one of the server's own names.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from bcdseg.errors import OptionError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"
BACKLOG = 1024  # connections that wait to be accepted


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


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: Name or address.
        port: Port; 0 takes any that is free.

    Raises:
        OptionError: The address can't be used, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (")[0]  # without the address, which is named already
        raise OptionError(
            f"{host}:{port}: can't be listened at ({reason}). Choose another host or port; port 0 takes any that is free."
        ) from None
