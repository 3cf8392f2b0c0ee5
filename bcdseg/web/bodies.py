"""Request bodies, read in bounded time, and in bounded memory for all of them together."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import fail_after
from starlette.requests import Request

from bcdseg.errors import LimitError

MEGA = 1_000_000


class SlowError(LimitError):
    """Error for an upload that did not arrive in time."""


class CrowdedError(LimitError):
    """Error for too many simultaneous uploads."""


class Bodies:
    """Reader of request bodies. A stalled upload blocks no other: only the bytes that have arrived count.

    Args:
        seconds: Longest time for a whole body to arrive.
        stall_seconds: Longest time without a byte of a body.
        bytes_together: Bytes of all bodies that are being read or used.
    """

    def __init__(self, *, seconds: float, stall_seconds: float = math.inf, bytes_together: float = math.inf) -> None:
        self._seconds, self._stall_seconds, self._most_together = seconds, stall_seconds, bytes_together
        self._bytes = 0

    @asynccontextmanager
    async def body(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """Read a whole body, which counts until the ``with`` block ends.

        Args:
            request: A request whose body has not been read.
            most: Largest number of bytes of the body; the rest of a larger one is not read.

        Raises:
            LimitError: It has more bytes, arrives too slowly (``SlowError``), or with too many others (``CrowdedError``).
        """
        parts: list[bytes] = []
        try:
            await self._read(request, most, parts)
            parts[:] = [b"".join(parts)]
            yield parts[0]
        finally:
            self._bytes -= sum(map(len, parts))

    async def _read(self, request: Request, most: int, parts: list[bytes]) -> None:
        too_large = LimitError(f"The file has more than {most / MEGA:g} million bytes, the most that is accepted here.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise too_large
        stream, size = aiter(request.stream()), 0
        try:
            with fail_after(self._seconds):
                while True:
                    with fail_after(self._stall_seconds):
                        part = await anext(stream, None)
                    if part is None:
                        return
                    parts.append(part)
                    size, self._bytes = size + len(part), self._bytes + len(part)
                    if size > most:
                        raise too_large
                    if self._bytes > self._most_together:
                        raise CrowdedError("Too many files arrive at the same time. Try again in a moment.")
        except TimeoutError:
            raise SlowError(f"The file took too long to arrive ({self._seconds:g} s at most). Send it again.") from None
