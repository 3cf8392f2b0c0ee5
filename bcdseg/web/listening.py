"""Sockets on which a server listens."""

from __future__ import annotations

import socket

from bcdseg.errors import OptionError

BACKLOG = 1024  # connections that wait to be accepted


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
