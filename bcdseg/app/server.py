"""Routes of the page's server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bcdseg.app import replies
from bcdseg.app.arrivals import Arrivals, CrowdedError, SlowError
from bcdseg.app.host_check import Guard
from bcdseg.app.limits import Limits, sample_scans, static_files
from bcdseg.app.prediction_cache import Desk, Shelf
from bcdseg.app.replies import AppState
from bcdseg.app.sessions import Sessions
from bcdseg.errors import BcdsegError, GoneError, LimitError
from bcdseg.sources import EXITS, unexpected_error
from bcdseg.web.hosts import AllowedHosts
from bcdseg.web.unread import CloseUnread

Answer = TypeVar("Answer")
SWEEP_SECONDS = 60
STATUS: dict[type[Exception], int] = {SlowError: 408, CrowdedError: 503, LimitError: 413, GoneError: 404}
BROKEN = "The program met an error of its own; the window that it runs in says which."


def create_app(shelf: Shelf, *, host: str = "127.0.0.1", limits: Limits | None = None) -> Starlette:
    """Create the page as an ASGI application.

    Args:
        shelf: The model store.
        host: The address that the server listens on, which determines the host names that it accepts.
        limits: Limits on uploads and memory.
    """
    limits = limits or Limits()
    room = AppState(Sessions(limits), Desk(shelf, kept_pixels=limits.kept_pixels), limits)
    side_by_side = anyio.CapacityLimiter(limits.at_once)
    arrivals = Arrivals(limits)

    def working(reply: Callable[[AppState, Request], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return await anyio.to_thread.run_sync(_foreseen, reply, room, request, limiter=side_by_side)

        return endpoint

    def receiving(reply: Callable[[AppState, Request, bytes], Response], most: int) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            room.session(request)  # checks the token before a byte is read
            async with arrivals.body(request, most) as content:
                return await anyio.to_thread.run_sync(_foreseen, reply, room, request, content, limiter=side_by_side)

        return endpoint

    scan = "/api/{token}/scans/{scan}"
    routes = [
        Route("/", _page),
        Route("/static/{name}", _static),
        Route("/samples/{sample}.png", _sample),
        Route("/api/session", working(replies.open_session), methods=["POST"]),
        Route("/api/{token}/close", working(replies.close_session), methods=["POST"]),
        Route("/api/{token}/card", working(replies.card)),
        Route("/api/{token}/clips", working(replies.clips)),
        Route("/api/{token}/table.csv", working(replies.table)),
        Route("/api/{token}/report", receiving(replies.take_report, limits.file_bytes), methods=["POST"]),
        Route("/api/{token}/report.html", working(replies.report)),
        Route("/api/{token}/samples/{sample}", working(replies.take_sample), methods=["POST"]),
        Route("/api/{token}/scans", receiving(replies.take_scan, limits.file_bytes), methods=["POST"]),
        Route(scan, working(replies.remove_scan), methods=["DELETE"]),
        Route(f"{scan}/answer", working(replies.answer)),
        Route(f"{scan}/image.png", working(replies.image)),
        Route(f"{scan}/levels", working(replies.level_map)),
        Route(f"{scan}/heat.png", working(replies.heat)),
        Route(f"{scan}/files/{{kind}}", working(replies.download)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(CloseUnread, most=limits.file_bytes), Middleware(Guard, hosts=AllowedHosts(host))],
        exception_handlers={BcdsegError: _refuse, Exception: _broken},
        lifespan=lambda _: _awake(room),
    )


@contextlib.asynccontextmanager
async def _awake(room: AppState) -> AsyncIterator[None]:
    """Warm up the first model while the page opens, and close idle sessions periodically."""
    threading.Thread(target=_warm, args=(room.desk.shelf,), daemon=True).start()

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            room.sweep()

    sweeping = asyncio.create_task(sweep())
    yield
    sweeping.cancel()


def _warm(shelf: Shelf) -> None:
    with contextlib.suppress(BcdsegError):  # reported when it is requested
        shelf.get()


def _foreseen(reply: Callable[..., Response], *arguments: Any) -> Response:
    """Run a handler, with an ``Exception`` for classes that are not: decoders written in Rust raise such."""
    try:
        return reply(*arguments)
    except (Exception, *EXITS):
        raise
    except BaseException as error:
        raise unexpected_error("This file", "can't be read", error) from error


async def _page(_: Request) -> Response:
    content, media_type = static_files()["index.html"]
    return Response(content, media_type=media_type)


async def _static(request: Request) -> Response:
    content, media_type = static_files().get(request.path_params["name"], (None, None))
    return Response(status_code=404) if content is None else Response(content, media_type=media_type)


async def _sample(request: Request) -> Response:
    path = sample_scans().get(request.path_params["sample"])
    return Response(status_code=404) if path is None else Response(path.read_bytes(), media_type="image/png")


async def _refuse(_: Request, error: Exception) -> Response:
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 422)
    return JSONResponse({"error": str(error), "gone": isinstance(error, GoneError)}, status)


async def _broken(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": BROKEN}, 500)
