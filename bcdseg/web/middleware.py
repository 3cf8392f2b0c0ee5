"""Middleware of both servers: headers, a check of the host name, and bodies that are not read; and status codes of errors."""

from __future__ import annotations

from collections.abc import Mapping

from anyio import move_on_after
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bcdseg.web.hosts import AllowedHosts

COMMON = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Responses are about patients: no cache keeps them, and no browser guesses their type."""

SECONDS = 10.0  # for the rest of a body to arrive that is dropped


class AddHeaders:
    """Middleware that adds headers to each response that has none of the same name.

    Args:
        app: The application.
        headers: Headers by their names in lower case.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self.app, self.headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class HeadAsGet:
    """Middleware that processes a HEAD request as GET. The program that runs the application sends no body in response to HEAD.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        await self.app(as_get, receive, send)
        scope["route"] = as_get.get("route")  # for the access log


class CheckHost:
    """Middleware that refuses requests under other host names than the server's own; see ``AllowedHosts``.

    Args:
        app: The application.
        hosts: Host names of the server.
        problem: JSON of the response to other requests, whose status is 403.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, problem: Mapping[str, str]) -> None:
        self.app, self.hosts, self.problem = app, hosts, problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it."""
        if scope["type"] != "http" or Headers(scope=scope).get("host", "") in self.hosts:
            await self.app(scope, receive, send)
        else:
            await JSONResponse(self.problem, 403)(scope, receive, send)


class CloseUnread:
    """Middleware that closes the connection after such a response.

    uvicorn would read the rest, however long it is. A client that still sends when its connection is closed may not receive the
    response, so a part of the rest is read and dropped first.

    Args:
        app: The application.
        most: Largest number of bytes that are dropped.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and close its connection where the body was not read."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        read = closing = False

        async def received() -> Message:
            nonlocal read
            message = await receive()
            read = read or not message.get("more_body", False)
            return message

        async def sent(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start" and not read:
                closing = True
                MutableHeaders(scope=message)["connection"] = "close"
            if not closing or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            await self._drop(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app(scope, received, sent)

    async def _drop(self, receive: Receive) -> None:
        dropped = 0
        with move_on_after(SECONDS):
            while dropped < self.most:
                message = await receive()
                if not message.get("more_body", False):
                    return
                dropped += len(message.get("body", b""))


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def status_of(error: BaseException, statuses: Mapping[type[BaseException], int]) -> int | None:
    """Return the status code of the first class that an error belongs to, or None."""
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), None)
