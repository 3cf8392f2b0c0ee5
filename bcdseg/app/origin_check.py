"""Check of the origin of requests, and the headers of the page."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bcdseg.web.middleware import COMMON

READING = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    **COMMON,
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
WRONG_HOST = {"error": "This server responds under its own address only. Open the address that bcdseg app printed."}
WRONG_ORIGIN = {"error": "Only the page itself may send something here."}


class CheckOrigin:
    """Middleware that refuses requests that another page sends and that are more than reading."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it with 403."""
        if scope["type"] == "http" and scope["method"] not in READING and not _is_own(Headers(scope=scope)):
            await JSONResponse(WRONG_ORIGIN, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _is_own(headers: Headers) -> bool:
    try:
        origin = urlsplit(headers.get("origin", "")).netloc
    except ValueError:  # the origin isn't a URL
        return False
    return origin.lower() == headers.get("host", "").lower()
