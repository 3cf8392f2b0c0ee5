"""Limits on the number and duration of connections: idle and slow ones are closed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits on connections.

    Attributes:
        most: Connections at once. A new one replaces the one that has been idle for longest.
        head_seconds: Seconds for the head of a request to arrive, also the first one.
        request_seconds: Seconds for a whole request: its body, its response, and the client's reading of it.
    """

    most: int
    head_seconds: float = 10.0
    request_seconds: float


def limited_protocol(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol class for connections, extended by limits, which it lacks."""
    most = min(limits.most, _open_files() // 2)

    class Limited(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._timer: asyncio.TimerHandle | None = None
            self._expect(limits.head_seconds)
            self._since = self.loop.time()
            others = [one for one in self.connections if isinstance(one, Limited) and not one.transport.is_closing()]
            if len(others) > most:
                idle = [one for one in others if one.is_idle and one is not self]
                min(idle, key=lambda one: one._since, default=self).transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and not self.is_idle:
                self._expect(limits.request_seconds)

        def send_400_response(self, msg: str) -> None:
            """Refuse what is not HTTP. The response to the request that it came with is dropped: it can't be sent any more."""
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                if self.cycle.response_started:
                    self.transport.abort()
                    return
            super().send_400_response(msg)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.is_idle:
                self._since = self.loop.time()
                unsent = self.transport.get_write_buffer_size()
                self._expect(limits.request_seconds if unsent else limits.head_seconds)

        @property
        def is_idle(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def _expect(self, seconds: float) -> None:
            """Close the connection unless something happens in time."""
            self._cancel()
            self._timer = self.loop.call_later(seconds, self.transport.abort)

        def _cancel(self) -> None:
            if self._timer is not None:
                self._timer.cancel()

    return Limited


def _open_files() -> int:
    """Return the number of files that the system lets this process open."""
    with contextlib.suppress(ImportError, OSError):  # not on Windows
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft != resource.RLIM_INFINITY:
            return soft
    return 2**16
