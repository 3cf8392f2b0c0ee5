"""Limits of the server."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from bcdseg.errors import OptionError
from bcdseg.web.bodies import MEGA


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server.

    Attributes:
        queue: Simultaneous requests, whether they are read, waiting or computed; the next one gets the status 429.
        max_mb: Largest upload in million bytes.
        max_megapixels: Largest scan in million pixels, checked in its header before it is decoded.
        timeout: Seconds for the upload to arrive, and as many for the response.
        read_timeout: Seconds of processor time for a file to be decoded; after them the process that decodes it is ended.
        connections: Open connections. A new one replaces the one that has been idle for longest.
        head_timeout: Seconds for the head of a request to arrive.
        grace: Seconds for accepted requests to be finished when the server shuts down.
    """

    queue: int = 64
    max_mb: float = 32
    max_megapixels: float = 25
    timeout: float = 30
    read_timeout: float = 10
    connections: int = 256
    head_timeout: float = 10
    grace: float = 7

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (math.isfinite(value) and value > 0):
                raise OptionError(f"{one.name}={value!r} is not possible: choose a number above 0.")

    @property
    def bytes(self) -> int:
        """Largest upload in bytes."""
        return int(self.max_mb * MEGA)

    @property
    def pixels(self) -> int:
        """Largest scan in pixels."""
        return int(self.max_megapixels * MEGA)
