"""Access log, error responses and security headers."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bcdseg.sources import EXITS
from bcdseg.web.hosts import AllowedHosts

LOG = logging.getLogger("bcdseg.serve")
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
)

WRONG_HOST = "This server does not answer under the name that was asked for. Allow it with bcdseg serve --allow-host NAME."


class Shield:
    """Middleware that logs method, route, status and time.

    For an unexpected error it logs type and traceback, without the message, which may quote a file.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and log its response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 0, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except ClientDisconnect:
            status = status or 499
        except (asyncio.CancelledError, *EXITS):
            raise
        except BaseException as error:  # decoders written in Rust raise classes that are not an Exception
            log_unforeseen(error)
            if not status:
                problem = JSONResponse({"detail": "Something went wrong here; the server's log says what."}, 500)
                await problem(scope, receive, noted)
        route = getattr(scope.get("route"), "path", "(unknown path)")
        LOG.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * (time.perf_counter() - start))


class CheckHost:
    """Middleware that refuses requests under other host names than the server's own; see ``AllowedHosts``."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it with 403."""
        if scope["type"] != "http" or Headers(scope=scope).get("host", "") in self.hosts:
            await self.app(scope, receive, send)
        else:
            await JSONResponse({"detail": WRONG_HOST}, 403)(scope, receive, send)


def log_unforeseen(error: BaseException) -> None:
    """Log the type of an error and its traceback, without its message."""
    LOG.error("unforeseen %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
