"""Handlers of the page's routes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bcdseg.app.app_state import AppState, predict_request
from bcdseg.app.limits import sample_scans
from bcdseg.app.responses import DOWNLOADS, card_html, facts, file_name, levels
from bcdseg.app.reviews.handlers import SHOWN
from bcdseg.app.reviews.review import priority
from bcdseg.app.sessions import UploadedScan, scans_in
from bcdseg.data.images import to_uint8
from bcdseg.errors import GoneError, InputError, OptionError
from bcdseg.inference.writers import csv_bytes, png_bytes

REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
LONGEST_NAME = 200


def open_session(state: AppState, _: Request) -> Response:
    """Open a new session, and return its token and what the page offers."""
    return JSONResponse(
        {
            "token": state.sessions.open(),
            "models": state.predictions.models.names,
            "samples": list(sample_scans()),
            "limits": asdict(state.limits),
            "corrections": None if state.corrections is None else str(state.corrections.folder),
            "reader": state.reader,
        }
    )


def close_session(state: AppState, request: Request) -> Response:
    """Close a session when its page was left, and remove its scans."""
    state.sessions.close(request.path_params["token"])
    state.sweep()
    return Response(status_code=204)


def take_scan(state: AppState, request: Request, content: bytes) -> Response:
    """Add the scans of an uploaded file to the session."""
    name = request.query_params.get("name", "").replace("\\", "/").rpartition("/")[2][-LONGEST_NAME:]
    return _add(state, request, content, name if name.strip(". ") else "scan")


def take_sample(state: AppState, request: Request) -> Response:
    """Add a sample scan of the package to the session."""
    path = sample_scans().get(request.path_params["sample"])
    if path is None:
        raise OptionError(f"There is no such sample: choose one of {', '.join(sample_scans())}.")
    return _add(state, request, path.read_bytes(), path.name)


def _add(state: AppState, request: Request, content: bytes, name: str) -> Response:
    session = state.session(request)
    scans = scans_in(content, name, state.limits)
    session.add(scans, state.limits)
    return JSONResponse({"scans": [_described(scan) for scan in scans]})


def _described(scan: UploadedScan) -> dict[str, Any]:
    """Return a scan as the page receives it: a frame comes with its number and its clip."""
    frame = {} if scan.clip is None else {"frame": scan.frame, "clip": scan.clip.to_dict()}
    return {"id": scan.id, "name": scan.name} | frame


def remove_scan(state: AppState, request: Request) -> Response:
    """Remove one scan from the session."""
    state.session(request).remove(request.path_params["scan"])
    state.sweep()
    return Response(status_code=204)


def prediction_of(state: AppState, request: Request) -> Response:
    """Return the prediction of a scan as JSON."""
    session, scan, options = state.session(request), state.scan(request), predict_request(state, request)
    model = state.predictions.models.get(options.model)
    prediction = state.predict_for_table(session, scan, options)
    records = [] if state.corrections is None else state.corrections.of(scan)
    shown = {
        "row": session.rows.get((options.model, scan.id)),
        "priority": priority(prediction, model)._asdict(),
        "reviews": [{name: getattr(record, name) for name in SHOWN} for record in records],
    }
    return JSONResponse(facts(prediction, model, dicom=scan.is_dicom) | shown)


def image(state: AppState, request: Request) -> Response:
    """Return the scan, without burned-in annotations outside its scan areas."""
    return Response(png_bytes(Image.fromarray(to_uint8(state.predict(request).image))), media_type="image/png")


def level_map(state: AppState, request: Request) -> Response:
    """Return the probability levels that the threshold is applied to."""
    return Response(levels(state.predict(request)), media_type="application/octet-stream")


def heat(state: AppState, request: Request) -> Response:
    """Return the scan with its heat map."""
    return Response(png_bytes(state.predict(request, explain=True).heat_overlay()), media_type="image/png")


def download(state: AppState, request: Request) -> Response:
    """Return a prediction as a file."""
    kind = DOWNLOADS.get(request.path_params["kind"])
    if kind is None:
        raise OptionError(f"There is no such file: choose one of {', '.join(DOWNLOADS)}.")
    scan = state.scan(request)
    return _attachment(kind.make(state.predict(request), scan), file_name(scan, kind), kind.media_type)


def table(state: AppState, request: Request) -> Response:
    """Return the table as the library writes it: each scan at the model's own threshold, with its file's own scale."""
    session, options = state.session(request), predict_request(state, request)
    model = state.predictions.models.get(options.model)
    rows = [row for key in list(session.scans) if (row := session.rows.get((options.model, key))) is not None]
    return _attachment(csv_bytes(rows, model.classes), "predictions.csv", "text/csv")


def clips(state: AppState, request: Request) -> Response:
    """Return the summary of each clip over the frames that are predicted so far."""
    found = state.session(request).clips(predict_request(state, request).model)
    summaries = [{"clip": clip.id, "name": one.source, "words": str(one)} | one.to_dict() for clip, one in found]
    return JSONResponse({"clips": summaries})


def card(state: AppState, request: Request) -> Response:
    """Return a model's card."""
    state.session(request)
    return JSONResponse({"html": card_html(state.predictions.models.get(predict_request(state, request).model))})


def take_report(state: AppState, request: Request, content: bytes) -> Response:
    """Store an uploaded report in the session."""
    if not content.lstrip()[:15].lower().startswith(b"<!doctype html"):
        raise InputError("This is not a report: choose the report.html that bcdseg evaluate wrote.")
    state.session(request).report = content
    return Response(status_code=204)


def report(state: AppState, request: Request) -> Response:
    """Return the report, sandboxed: no script runs in it and it loads nothing."""
    content = state.session(request).report
    if content is None:
        raise GoneError("No report is open.")
    return Response(content, media_type="text/html; charset=utf-8", headers={"content-security-policy": REPORT_POLICY})


def _attachment(content: bytes, name: str, media_type: str) -> Response:
    headers: dict[str, Any] = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return Response(content, media_type=media_type, headers=headers)
