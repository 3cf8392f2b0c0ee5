"""Requests that get a response before their body was read, because it is too large or not needed."""

from __future__ import annotations

from anyio import move_on_after
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 10.0


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
