"""Access log, and responses to unexpected errors."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bcdseg.sources import EXITS

LOG = logging.getLogger("bcdseg.serve")


class AccessLog:
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

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except ClientDisconnect:
            status = status or 499
        except (asyncio.CancelledError, *EXITS):
            raise
        except BaseException as error:  # decoders written in Rust raise classes that are not an Exception
            log_unexpected(error)
            if not status:
                problem = JSONResponse({"detail": "The server met an unexpected error, which its log describes."}, 500)
                await problem(scope, receive, send_and_note)
        route = getattr(scope.get("route"), "path", "(unknown path)")
        LOG.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * (time.perf_counter() - start))


def log_unexpected(error: BaseException) -> None:
    """Log the type of an error and its traceback, without its message."""
    LOG.error("unexpected %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
