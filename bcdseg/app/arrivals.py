"""Reading of uploads in bounded time, and in bounded memory for all of them together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import fail_after
from starlette.requests import Request

from bcdseg.app.limits import MEBI, Limits
from bcdseg.errors import LimitError


class SlowError(LimitError):
    """Error for an upload that did not arrive in time."""


class CrowdedError(LimitError):
    """Error for too many simultaneous uploads."""


class Arrivals:
    """Reader of request bodies. A stalled upload blocks no other: only the bytes that have arrived count."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0

    @asynccontextmanager
    async def body(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """Read a whole body, which counts until the ``with`` block ends.

        Args:
            request: A request whose body has not been read.
            most: Largest number of bytes of the body.

        Raises:
            LimitError: It has more bytes, arrives too slowly, or too many arrive at once.
        """
        parts: list[bytes] = []
        try:
            await self._read(request, most, parts)
            parts[:] = [b"".join(parts)]
            yield parts[0]
        finally:
            self._bytes -= sum(map(len, parts))

    async def _read(self, request: Request, most: int, parts: list[bytes]) -> None:
        problem = LimitError(f"This file is larger than {most // MEBI} MB, the most that the page takes.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise problem
        stream, size = aiter(request.stream()), 0
        try:
            with fail_after(self._limits.arrival_seconds):
                while True:
                    with fail_after(self._limits.stall_seconds):
                        part = await anext(stream, None)
                    if part is None:
                        return
                    parts.append(part)
                    size, self._bytes = size + len(part), self._bytes + len(part)
                    if size > most:
                        raise problem
                    if self._bytes > self._limits.arriving_bytes:
                        raise CrowdedError("Too many files arrive at once. Try again in a moment.")
        except TimeoutError:
            raise SlowError("The file took too long to arrive. Send it again.") from None
