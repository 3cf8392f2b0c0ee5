"""Routes of the page's server, and the headers of its responses."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bcdseg.app import handlers
from bcdseg.app.app_state import AppState
from bcdseg.app.limits import Limits, sample_scans, static_files
from bcdseg.app.prediction_cache import ModelStore, PredictionCache
from bcdseg.app.reviews import archive
from bcdseg.app.reviews import handlers as reviews
from bcdseg.app.reviews.corrections import Corrections
from bcdseg.app.sessions import Sessions
from bcdseg.errors import BcdsegError, GoneError, LimitError
from bcdseg.sources import EXITS, unexpected_error
from bcdseg.web.bodies import Bodies, CrowdedError, SlowError
from bcdseg.web.hosts import AllowedHosts
from bcdseg.web.middleware import COMMON, AddHeaders, CheckHost, CloseUnread, status_of
from bcdseg.web.reader_pool import ReaderPool

SWEEP_SECONDS = 60
STATUS: dict[type[BaseException], int] = {SlowError: 408, CrowdedError: 503, LimitError: 413, GoneError: 404}
BROKEN = "The program met an unexpected error; the window that it runs in shows it."
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


def create_app(
    models: ModelStore,
    *,
    host: str = "127.0.0.1",
    limits: Limits | None = None,
    corrections: Corrections | None = None,
    reader: str = "reader",
) -> Starlette:
    """Create the page as an ASGI application.

    Args:
        models: The models that the page offers.
        host: The address that the server listens on, which determines the host names that it accepts.
        limits: Limits on uploads and memory.
        corrections: Folder of corrections; None where none are saved.
        reader: Name of the reader that the page suggests.
    """
    limits = limits or Limits()
    time = {"seconds": limits.read_seconds, "passing": limits.passing_seconds}
    readers = ReaderPool(limits.parallel, **time, most_pixels=limits.pixels)
    predictions = PredictionCache(models, readers, most_pixels=limits.pixels, kept_pixels=limits.kept_pixels)
    in_parallel = anyio.CapacityLimiter(limits.parallel)
    state = AppState(Sessions(limits), predictions, limits, corrections, reader, in_parallel)
    bodies = Bodies(seconds=limits.arrival_seconds, stall_seconds=limits.stall_seconds, bytes_together=limits.arriving_bytes)

    def handle(handler: Callable[[AppState, Request], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return await anyio.to_thread.run_sync(_run, handler, state, request, limiter=in_parallel)

        return endpoint

    def receive(handler: Callable[[AppState, Request, bytes], Response], most: int) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            state.session(request)  # checks the token before a byte is read
            async with bodies.body(request, most) as content:
                return await anyio.to_thread.run_sync(_run, handler, state, request, content, limiter=in_parallel)

        return endpoint

    scan = "/api/{token}/scans/{scan}"
    routes = [
        Route("/", _page),
        Route("/static/{name:path}", _static),
        Route("/samples/{sample}.png", _sample),
        Route("/api/session", handle(handlers.open_session), methods=["POST"]),
        Route("/api/{token}/close", handle(handlers.close_session), methods=["POST"]),
        Route("/api/{token}/card", handle(handlers.card)),
        Route("/api/{token}/clips", handle(handlers.clips)),
        Route("/api/{token}/table.csv", handle(handlers.table)),
        Route("/api/{token}/batch.zip", handle(archive.archive)),
        Route("/api/{token}/report", receive(handlers.take_report, limits.file_bytes), methods=["POST"]),
        Route("/api/{token}/report.html", handle(handlers.report)),
        Route("/api/{token}/samples/{sample}", handle(handlers.take_sample), methods=["POST"]),
        Route("/api/{token}/scans", receive(handlers.take_scan, limits.file_bytes), methods=["POST"]),
        Route(scan, handle(handlers.remove_scan), methods=["DELETE"]),
        Route(f"{scan}/prediction", handle(handlers.prediction_of)),
        Route(f"{scan}/image.png", handle(handlers.image)),
        Route(f"{scan}/levels", handle(handlers.level_map)),
        Route(f"{scan}/heat.png", handle(handlers.heat)),
        Route(f"{scan}/files/{{kind}}", handle(handlers.download)),
        Route(f"{scan}/truth", handle(reviews.truth)),
        Route(f"{scan}/truth", receive(reviews.take_truth, limits.file_bytes), methods=["POST"]),
        Route(f"{scan}/second", handle(reviews.second_model)),
        Route(f"{scan}/reviews", handle(reviews.reviews)),
        Route(f"{scan}/review", receive(reviews.take_review, limits.review_bytes), methods=["PUT"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(CloseUnread, most=limits.file_bytes),
            Middleware(AddHeaders, headers=HEADERS),
            Middleware(CheckHost, hosts=AllowedHosts(host), problem=WRONG_HOST),
            Middleware(CheckOrigin),
        ],
        exception_handlers={BcdsegError: _refuse, Exception: _broken},
        lifespan=lambda _: _lifespan(state, readers),
    )


@contextlib.asynccontextmanager
async def _lifespan(state: AppState, readers: ReaderPool) -> AsyncIterator[None]:
    """Load the first model while the page opens, close idle sessions periodically, and end the processes that read files."""
    threading.Thread(target=_load_first, args=(state.predictions.models,), daemon=True).start()

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            state.sweep()

    sweeping = asyncio.create_task(sweep())
    yield
    sweeping.cancel()
    readers.stop()


def _load_first(models: ModelStore) -> None:
    with contextlib.suppress(BcdsegError):  # reported when it is requested
        models.get()


def _run(handler: Callable[..., Response], *arguments: Any) -> Response:
    """Run a handler, with an ``Exception`` for classes that are not: decoders written in Rust raise such."""
    try:
        return handler(*arguments)
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
    return JSONResponse({"error": str(error), "gone": isinstance(error, GoneError)}, status_of(error, STATUS) or 422)


async def _broken(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": BROKEN}, 500)


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
