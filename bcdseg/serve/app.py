"""Routes of the server, and its OpenAPI page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from html import escape
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware

from bcdseg import __version__
from bcdseg.model.model import Model
from bcdseg.serve.access_log import AccessLog
from bcdseg.serve.limits import Limits
from bcdseg.serve.readers import Readers
from bcdseg.serve.request_queue import RequestQueue
from bcdseg.serve.responses import USE, PredictionResponse, json_body, mask_body, segmentation_body
from bcdseg.serve.upload import FORM, RAW, check_options
from bcdseg.serve.workers import FAILED, READY, Workers
from bcdseg.types import SPACING_RANGE
from bcdseg.web.hosts import AllowedHosts
from bcdseg.web.middleware import COMMON, AddHeaders, CheckHost, CloseUnread, HeadAsGet

HEADERS = {**COMMON, "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
WRONG_HOST = "This server does not accept the host name of the request. Allow it with bcdseg serve --allow-host NAME."
LAST_SECONDS = 1.0  # for work whose client is gone: servers shut an application down when its requests are complete
BINARY = {"schema": {"type": "string", "format": "binary"}}
FILE_IN_FORM = {"schema": {"type": "object", "properties": {"file": BINARY["schema"]}, "required": ["file"]}}
BODY = {"requestBody": {"required": True, "content": {FORM: FILE_IN_FORM, **dict.fromkeys(RAW, BINARY)}}}

Threshold = Annotated[
    float | None, Query(gt=0, lt=1, description="Mask probability from which a pixel is outlined; else the model's own.")
]
Spacing = Annotated[
    float | None, Query(ge=SPACING_RANGE[0], le=SPACING_RANGE[1], description="Millimetres per pixel, in place of DICOM's own.")
]
Point = Annotated[str | None, Query(description="Name of an operating point of the model, which then chooses the class.")]
Frame = Annotated[int | None, Query(ge=1, description="Of a DICOM clip, the frame, counted from 1.")]
WithMask = Annotated[bool, Query(description="Whether the response contains the mask, as PNG in base64.")]
Kind = Annotated[Literal["binary", "probability"], Query(description="The outline, or the probability of each pixel.")]


class Problem(BaseModel):
    """Error of a request: its reason and what to do."""

    detail: str


class State(BaseModel):
    """State of the server."""

    state: Literal["warming", "ready", "busy", "failed", "stopping"]


class Served(BaseModel):
    """The model, and the limits of the server."""

    model: str
    classes: list[str]
    no_lesion: str | None
    operating_points: list[str]
    device: str
    runtime: str
    library_version: str
    queue: int
    max_mb: float
    max_megapixels: float
    timeout: float
    read_timeout: float
    use: str = USE


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The form can't be read.",
        403: "The request names another host than the server's own.",
        408: "The upload didn't arrive in time.",
        413: "The file has too many bytes, or the scan too many pixels.",
        415: "Files of this kind can't be read here.",
        422: "The file can't be read as a scan, or an option is not possible; the message states the reason.",
        429: "Too many requests are waiting; Retry-After is the number of seconds to wait.",
        503: "Not ready yet, busy, stopping, or the prediction took too long; Retry-After is the number of seconds to wait.",
    }.items()
}


def create_app(model: Model, limits: Limits | None = None, *, hosts: AllowedHosts | None = None) -> FastAPI:
    """Create the server as an ASGI application. Its lifespan warms up the model and, at shutdown, finishes waiting requests.

    Args:
        model: The model.
        limits: Limits on requests. Limits on connections are those of the program that runs the application.
        hosts: Host names that the server accepts; by default any.
    """
    limits = limits or Limits()
    workers = Workers(model)
    readers = Readers(workers, limits)
    requests = RequestQueue(workers, readers, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        workers.start()
        readers.start()
        yield
        all_read = await asyncio.to_thread(readers.stop, LAST_SECONDS)
        all_computed = await asyncio.to_thread(workers.stop, LAST_SECONDS)
        app.state.finished = all_read and all_computed

    app = FastAPI(
        title="bcdseg",
        version=__version__,
        description=f"Breast-ultrasound scans in; outline, class and size out. {USE} Nothing that is sent is kept.",
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(CloseUnread, most=limits.bytes),
            Middleware(AddHeaders, headers=HEADERS),
            Middleware(AccessLog),
            *([Middleware(CheckHost, hosts=hosts, problem={"detail": WRONG_HOST})] if hosts else []),
            Middleware(HeadAsGet),
        ],
        redirect_slashes=False,  # a client that doesn't follow the redirect would show nothing
        exception_handlers={RequestValidationError: _invalid, 404: _no_route, 405: _no_route},
    )
    app.state.finished = True
    _add_predictions(app, requests)
    _add_state(app, requests, limits)
    return app


def _add_predictions(app: FastAPI, requests: RequestQueue) -> None:
    def post(path: str, media_type: str, **options: Any) -> Callable[..., Any]:
        content: dict[int | str, dict[str, Any]] = (
            {200: {"content": {media_type: BINARY}}} if media_type != "application/json" else {}
        )
        documented: dict[str, Any] = {"responses": {**PROBLEMS, **content}, "openapi_extra": BODY}
        return app.post(path, response_class=Response, dependencies=[Depends(check_options)], **documented, **options)

    @post("/predict", "application/json", response_model=PredictionResponse, summary="Class, probabilities, lesions, flags")
    async def predict(
        request: Request,
        mask: WithMask = False,
        threshold: Threshold = None,
        spacing: Spacing = None,
        operating_point: Point = None,
        frame: Frame = None,
    ) -> Response:
        options = {"threshold": threshold, "spacing": spacing, "operating_point": operating_point}
        encode = partial(json_body, with_mask=mask)
        return Response(await requests.respond(request, options, frame, encode), media_type="application/json")

    @post("/mask", "image/png", response_model=None, summary="The mask as PNG, of the scan's size")
    async def mask_only(request: Request, threshold: Threshold = None, frame: Frame = None) -> Response:
        return Response(await requests.respond(request, {"threshold": threshold}, frame, mask_body), media_type="image/png")

    @post("/dicom-seg", "application/dicom", response_model=None, summary="Of a DICOM scan, the mask as DICOM-SEG")
    async def segmentation(
        request: Request, kind: Kind = "binary", threshold: Threshold = None, spacing: Spacing = None, frame: Frame = None
    ) -> Response:
        options = {"threshold": threshold, "spacing": spacing}
        encode = partial(segmentation_body, kind=kind)
        return Response(await requests.respond(request, options, frame, encode, reference=True), media_type="application/dicom")


def _add_state(app: FastAPI, requests: RequestQueue, limits: Limits) -> None:
    otherwise: dict[int | str, dict[str, Any]] = {503: {"model": State, "description": "It is not; the state is the reason."}}

    def respond(well: bool, state: str) -> JSONResponse:
        return JSONResponse({"state": state}, 200 if well else 503)

    @app.get("/health", response_model=State, responses=otherwise, summary="Whether the server is alive")
    async def health() -> Response:
        return respond((state := requests.state) != FAILED, state)

    @app.get("/ready", response_model=State, responses=otherwise, summary="Whether scans are accepted")
    async def ready() -> Response:
        return respond((state := requests.state) == READY, state)

    @app.get("/model", response_model=Served, summary="The model, and the limits of the server")
    async def served() -> Served:
        model = requests.workers.model
        return Served(
            model=model.name,
            classes=list(model.classes),
            no_lesion=model.no_lesion,
            operating_points=[point.name for point in model.rules.operating_points],
            device=model.device,
            runtime=model.runtime,
            library_version=__version__,
            queue=limits.queue,
            max_mb=limits.max_mb,
            max_megapixels=limits.max_megapixels,
            timeout=limits.timeout,
            read_timeout=limits.read_timeout,
        )

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(write_page(app.openapi(), request.url.netloc))


async def _invalid(_: Request, error: Exception) -> Response:
    """Return which option is invalid and why, without the values that were sent."""
    assert isinstance(error, RequestValidationError)
    problems = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return JSONResponse({"detail": problems}, 422)


async def _no_route(_: Request, error: Exception) -> Response:
    """Return that a route is unknown, or which method it has, and where the routes are listed."""
    assert isinstance(error, StarletteHTTPException)
    method = Headers(error.headers or {}).get("allow")
    problem = f"This route is for {method} requests." if method else "The server has no such route."
    return JSONResponse({"detail": f"{problem} GET / lists the routes."}, error.status_code, error.headers)


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h2 { font: 600 1.05rem ui-monospace, monospace; margin: 2rem 0 .25rem; }
pre, code { font: .875rem ui-monospace, monospace; background: #f3f5f7; border-radius: 4px; }
pre { padding: .75rem; overflow-x: auto; } code { padding: .1rem .3rem; }
table { border-collapse: collapse; font-size: .9rem; } td { padding: .15rem .75rem .15rem 0; vertical-align: top; }
td code { white-space: nowrap; }
"""
EXAMPLES = (
    ("class, outline and size of a scan", "curl -F file=@scan.png 'http://HOST/predict?spacing=0.1'"),
    ("its mask", "curl -F file=@scan.png http://HOST/mask -o mask.png"),
    ("the mask of a DICOM scan, as DICOM-SEG", "curl --data-binary @scan.dcm http://HOST/dicom-seg -o seg.dcm"),
)


def write_page(openapi: Mapping[str, Any], host: str) -> str:
    """Return HTML of an OpenAPI document, with examples for the address of the request."""
    examples = "".join(f"# {escape(what)}\n{escape(command.replace('HOST', host))}\n\n" for what, command in EXAMPLES).strip()
    routes = "".join(
        part
        for path, methods in openapi["paths"].items()
        for method, route in methods.items()
        for part in _route(method, path, route)
    )
    title = escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1><p>{escape(openapi['info']['description'])}</p>"
        f"<p>In full, for programs: <a href=openapi.json>openapi.json</a>.</p><pre>{examples}</pre>{routes}</html>"
    )


def _route(method: str, path: str, route: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(route['summary'])}</p>"
    if "requestBody" in route:
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in route["requestBody"]["content"])
        yield f"<p>Takes a file: {kinds}.</p>"
    rows = [(f"?{one['name']}=", one.get("description", "")) for one in route.get("parameters", ())]
    rows += [(status, response["description"]) for status, response in route["responses"].items()]
    cells = (f"<tr><td><code>{escape(name)}</code><td>{escape(text)}</tr>" for name, text in rows)
    yield f"<table>{''.join(cells)}</table>"
