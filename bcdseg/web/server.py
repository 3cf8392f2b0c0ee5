"""Server with limits on the number and duration of its connections, and on the duration of its shutdown.

A request whose first bytes arrived gets a response also where its connection is closed: 408 where its head did not arrive in
time, 503 where the response took too long or there are too many connections. The connection is then closed in one direction and
read on for a moment, since a system that gets data for a closed connection discards the response that the client has not read yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import threading
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bcdseg.web.hosts import BACKLOG

SETTLE = 0.05  # seconds, twice: requests that have arrived are read between two timers, before idle connections are closed
LAST_SECONDS, LAST_BYTES = 10.0, 64_000_000  # that a client may send after the last response of its connection
SLOW = "The request took too long to arrive. Send it again."
LATE = "The response took too long. Try again later."
CROWDED = "There are too many connections. Try again in a moment."
WRONG = "The request is not HTTP."
MARGIN = 3.0  # seconds beyond the grace period, for an orderly shutdown


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits on connections.

    Attributes:
        most: Simultaneous connections. Beyond it, the one that has been idle for longest is closed; where all are busy, a new one
            is refused from twice this number on.
        head_seconds: Seconds for the head of a request to arrive, also the first one.
        request_seconds: Seconds for a whole request: its body, its response, and the client's reading of it.
    """

    most: int
    head_seconds: float = 10.0
    request_seconds: float


class _LimitedConnection(H11Protocol):
    """One connection with limits; a subclass sets them."""

    limits: ClassVar[ConnectionLimits]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._left = LAST_BYTES
        self._since = self.loop.time()
        self._expect(self.limits.head_seconds)
        self.loop.call_later(SETTLE, self.loop.call_later, SETTLE, self._close_surplus)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            return
        self._left -= len(data)
        if self._left < 0:
            self.transport.abort()

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.is_idle:
            self._expect(self.limits.request_seconds)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Refuse what is not HTTP. The response to the request that it came with is dropped: it can't be sent any more."""
        self._refuse(HTTPStatus.BAD_REQUEST, WRONG)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.is_idle:
            self._since = self.loop.time()
            unsent = self.transport.get_write_buffer_size()
            self._expect(self.limits.request_seconds if unsent else self.limits.head_seconds)

    def timeout_keep_alive_handler(self) -> None:
        if not self._refused:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being processed."""
        return self._refused or self.cycle is None or self.cycle.response_complete

    def _close_surplus(self) -> None:
        """Close connections, if there are too many: those that were refused, and the one that has been idle for longest."""
        if self._refused or self.transport.is_closing():
            return
        others = [
            one
            for one in self.connections
            if isinstance(one, _LimitedConnection) and one is not self and not one.transport.is_closing()
        ]
        refused = sorted((one for one in others if one._refused), key=lambda one: one._since)
        for one in refused[: max(0, len(others) - 3 * self.limits.most)]:
            one.transport.abort()
        busy = len(others) - len(refused)
        if busy < self.limits.most:
            return
        idle = min((one for one in others if one.is_idle and not one._refused), key=lambda one: one._since, default=None)
        if idle is not None:
            idle._refuse(HTTPStatus.SERVICE_UNAVAILABLE, CROWDED)
        elif busy >= 2 * self.limits.most and not (self.cycle is not None and self.cycle.response_started):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, CROWDED)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Send a response in place of the application's, and close the connection once the client has read it."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._unset_keepalive_if_required()
        self._expect(LAST_SECONDS)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        self._since = self.loop.time()
        body = json.dumps({"detail": detail}).encode()
        retry = "retry-after: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"cache-control: no-store\r\n{retry}connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        try:
            self.transport.write_eof()
        except OSError:  # the client is gone
            self.transport.abort()
            return
        self.transport.resume_reading()

    def _expect(self, seconds: float) -> None:
        """Close the connection unless something happens in time."""
        self._cancel()
        self._timer = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        has_started = self.cycle is None or self.conn.trailing_data[0]
        if not self.is_idle:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, LATE)
        elif has_started and not self._refused and not self.transport.get_write_buffer_size():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, SLOW)
        else:
            self.transport.abort()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def limited_protocol(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol class for connections, extended by limits, which it lacks."""
    within = replace(limits, most=min(limits.most, _open_files() // 4))
    return type("LimitedConnection", (_LimitedConnection,), {"limits": within})


def _open_files() -> int:
    """Return the number of files that the system lets this process open."""
    with contextlib.suppress(ImportError, OSError):  # not on Windows
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft != resource.RLIM_INFINITY:
            return soft
    return 2**16


class BoundedServer(uvicorn.Server):
    """uvicorn server with limits on connections, and on the duration of its shutdown.

    Args:
        app: The ASGI application.
        connections: Limits on connections.
        grace: Seconds for requests to be finished at shutdown; then they are dropped.
        options: Options of ``uvicorn.Config``.
    """

    def __init__(self, app: Any, *, connections: ConnectionLimits, grace: float, **options: Any) -> None:
        config = uvicorn.Config(
            app,
            http=limited_protocol(connections),
            ws="none",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=math.ceil(grace),
            **options,
        )
        super().__init__(config)
        self._grace = grace
        self._ending = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down on a signal; the process is ended where threads prevent a shutdown in time."""
        super().handle_exit(sig, frame)
        if not self._ending:
            self._ending = True
            threading.Thread(target=self._end_process, name="bcdseg-end", daemon=True).start()

    def _end_process(self) -> None:
        time.sleep(self._grace + MARGIN)
        os._exit(1)
