"""Who may talk to the page's server, and what a browser may do with its answers."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bcdseg.app.addresses import LOOPBACK, is_address, is_loopback

READING = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
WRONG_HOST = "This server answers under its own address only. Open the address that bcdseg app printed."
WRONG_ORIGIN = "Only the page itself may send something here."


class Guard:
    """Refuses requests under a foreign name and posts from a foreign page; adds the headers of ``HEADERS``.

    A page of somebody else can make its own name point at this machine (DNS rebinding). So of names only the loopback's,
    this machine's own and the one it listens at count; where others are let in, so do numbers, which need no DNS.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.open = not is_loopback(host)
        self.names = LOOPBACK | {host.lower()} | ({socket.gethostname().lower()} if self.open else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._problem(scope["method"], Headers(scope=scope))
        answer = self.app if problem is None else JSONResponse({"error": problem}, 403)
        await answer(scope, receive, send_with_headers)

    def _problem(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return WRONG_HOST
        if method not in READING and urlsplit(headers.get("origin", "")).netloc.lower() != host.lower():
            return WRONG_ORIGIN
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self.names or (self.open and is_address(name))
