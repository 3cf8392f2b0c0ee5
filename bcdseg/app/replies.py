"""Handlers of the page's routes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bcdseg.app.limits import Limits, sample_scans
from bcdseg.app.prediction_cache import Desk, PredictRequest
from bcdseg.app.responses import DOWNLOADS, card_html, facts, file_name, levels
from bcdseg.app.sessions import Session, Sessions, UploadedScan, scans_in
from bcdseg.data.images import to_uint8
from bcdseg.errors import BcdsegError, GoneError, InputError, OptionError
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.writers import csv_bytes, png_bytes
from bcdseg.types import Failure

REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
LONGEST_NAME = 200


@dataclass(frozen=True)
class AppState:
    """State of the application that outlives a request."""

    sessions: Sessions
    desk: Desk
    limits: Limits

    def session(self, request: Request) -> Session:
        """Return the session of a request."""
        return self.sessions.get(request.path_params["token"])

    def scan(self, request: Request) -> UploadedScan:
        """Return the scan of a request."""
        return self.session(request).scan(request.path_params["scan"])

    def ask(self, request: Request, *, explain: bool = False) -> Prediction:
        """Return the prediction of a request."""
        return self.desk.ask(self.scan(request), _question(self, request, explain=explain))

    def sweep(self) -> None:
        """Remove what idle and closed sessions stored."""
        self.sessions.sweep()
        self.desk.forget(self.sessions.scan_ids())


def open_session(room: AppState, _: Request) -> Response:
    """Open a new session, and return its token and what the page offers."""
    shelf = room.desk.shelf
    return JSONResponse(
        {
            "token": room.sessions.open(),
            "models": shelf.names,
            "samples": list(sample_scans()),
            "limits": asdict(room.limits),
        }
    )


def close_session(room: AppState, request: Request) -> Response:
    """Close a session when its page was left, and remove its scans."""
    room.sessions.close(request.path_params["token"])
    room.sweep()
    return Response(status_code=204)


def take_scan(room: AppState, request: Request, content: bytes) -> Response:
    """Add the scans of an uploaded file to the session."""
    name = request.query_params.get("name", "").replace("\\", "/").rpartition("/")[2][-LONGEST_NAME:]
    return _hold(room, request, content, name if name.strip(". ") else "scan")


def take_sample(room: AppState, request: Request) -> Response:
    """Add a sample scan of the package to the session."""
    path = sample_scans().get(request.path_params["sample"])
    if path is None:
        raise OptionError(f"There is no such sample: choose one of {', '.join(sample_scans())}.")
    return _hold(room, request, path.read_bytes(), path.name)


def _hold(room: AppState, request: Request, content: bytes, name: str) -> Response:
    session = room.session(request)
    scans = scans_in(content, name, room.limits)
    session.add(scans, room.limits)
    return JSONResponse({"scans": [{"id": scan.id, "name": scan.name} for scan in scans]})


def remove_scan(room: AppState, request: Request) -> Response:
    """Remove one scan from the session."""
    room.session(request).remove(request.path_params["scan"])
    room.sweep()
    return Response(status_code=204)


def answer(room: AppState, request: Request) -> Response:
    """Return the prediction of a scan as JSON."""
    session, scan, question = room.session(request), room.scan(request), _question(room, request)
    model = room.desk.shelf.get(question.model)
    try:
        prediction = room.desk.ask(scan, question)
    except BcdsegError as error:
        if question.is_plain:
            session.keep(question.model, scan, Failure(scan.name, error), model.classes)
        raise
    if question.is_plain:
        session.keep(question.model, scan, prediction, model.classes)
    return JSONResponse(facts(prediction, model, dicom=scan.is_dicom) | {"row": session.rows.get((question.model, scan.id))})


def image(room: AppState, request: Request) -> Response:
    """Return the scan as it was read, without what the machine wrote around its scan areas."""
    return Response(png_bytes(Image.fromarray(to_uint8(room.ask(request).image))), media_type="image/png")


def level_map(room: AppState, request: Request) -> Response:
    """Return the probability levels that the threshold is applied to."""
    return Response(levels(room.ask(request)), media_type="application/octet-stream")


def heat(room: AppState, request: Request) -> Response:
    """Return the scan with its heat map."""
    return Response(png_bytes(room.ask(request, explain=True).heat_overlay()), media_type="image/png")


def download(room: AppState, request: Request) -> Response:
    """Return a prediction as a file."""
    kind = DOWNLOADS.get(request.path_params["kind"])
    if kind is None:
        raise OptionError(f"There is no such file: choose one of {', '.join(DOWNLOADS)}.")
    scan = room.scan(request)
    return _attachment(kind.make(room.ask(request), scan), file_name(scan, kind), kind.media_type)


def table(room: AppState, request: Request) -> Response:
    """Return the table as the library writes it: each scan at the model's own threshold, with its file's own scale."""
    session, question = room.session(request), _question(room, request)
    model = room.desk.shelf.get(question.model)
    rows = [row for key in list(session.scans) if (row := session.rows.get((question.model, key))) is not None]
    return _attachment(csv_bytes(rows, model.classes), "predictions.csv", "text/csv")


def clips(room: AppState, request: Request) -> Response:
    """Return the summary of each clip over its frames."""
    found = room.session(request).clips(_question(room, request).model)
    return JSONResponse({"clips": [{"name": one.source, "words": str(one)} for one in found]})


def card(room: AppState, request: Request) -> Response:
    """Return a model's card."""
    room.session(request)
    return JSONResponse({"html": card_html(room.desk.shelf.get(_question(room, request).model))})


def take_report(room: AppState, request: Request, content: bytes) -> Response:
    """Store an uploaded report in the session."""
    if not content.lstrip()[:15].lower().startswith(b"<!doctype html"):
        raise InputError("This is no report: choose the report.html that bcdseg evaluate wrote.")
    room.session(request).report = content
    return Response(status_code=204)


def report(room: AppState, request: Request) -> Response:
    """Return the report, sandboxed: no script runs in it and it loads nothing."""
    content = room.session(request).report
    if content is None:
        raise GoneError("No report is open.")
    return Response(content, media_type="text/html; charset=utf-8", headers={"content-security-policy": REPORT_POLICY})


def _question(room: AppState, request: Request, *, explain: bool = False) -> PredictRequest:
    asked = request.query_params
    return PredictRequest(
        model=asked.get("model") or room.desk.shelf.names[0],
        threshold=_number(asked.get("threshold"), "threshold"),
        spacing=_number(asked.get("spacing"), "spacing"),
        operating_point=asked.get("operating_point") or None,
        explain=asked.get("explain") if explain else None,
    )


def _number(text: str | None, name: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise OptionError(f"{name}={text!r}: is not a number.") from None


def _attachment(content: bytes, name: str, media_type: str) -> Response:
    headers: dict[str, Any] = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return Response(content, media_type=media_type, headers=headers)
