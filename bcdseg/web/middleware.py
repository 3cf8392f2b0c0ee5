"""Middleware of both servers: headers of all responses, and a check of the host name."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bcdseg.web.hosts import AllowedHosts

COMMON = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Responses are about patients: no cache keeps them, and no browser guesses their type."""


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
