"""Limits of the server."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from bcdseg.errors import OptionError

MEGA = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server takes at most.

    Attributes:
        queue: Requests that are held at once: being read, waiting or computed. One more is answered with 429.
        max_mb: Million bytes of an upload.
        max_megapixels: Million pixels of a scan, read from its header before any is decoded.
        timeout: Seconds for the upload to arrive, and as many for the answer.
        read_timeout: Seconds for a file to be read: then the process that reads it is ended.
        connections: Open connections. A new one takes the place of the one that has been idle for longest.
        head_timeout: Seconds for the head of a request to arrive.
        grace: Seconds for what was taken to be finished when the server ends.
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
        """Of an upload, at most."""
        return int(self.max_mb * MEGA)

    @property
    def pixels(self) -> int:
        """Of a scan, at most."""
        return int(self.max_megapixels * MEGA)
