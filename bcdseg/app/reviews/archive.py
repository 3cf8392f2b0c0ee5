"""A batch as ZIP: table, masks, overlays and corrections, sent while it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from bcdseg.app.app_state import AppState, predict_request
from bcdseg.app.prediction_cache import PredictRequest
from bcdseg.app.sessions import Session, UploadedScan
from bcdseg.errors import BcdsegError
from bcdseg.inference.writers import csv_bytes, output_names, pictures_of

NAME = "batch.zip"


def archive(state: AppState, request: Request) -> Response:
    """Return all scans of the page as a ZIP file, each at the model's own threshold and with its file's own scale."""
    session, options = state.session(request), PredictRequest(model=predict_request(state, request).model)
    state.predictions.models.get(options.model)  # an unknown model is an error before anything is sent
    headers = {"content-disposition": f'attachment; filename="{NAME}"'}
    return StreamingResponse(_parts(state, session, options), media_type="application/zip", headers=headers)


class _Sink:
    """File without positions, whose content is taken while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, content: bytes) -> int:
        self._parts.append(bytes(content))
        return len(content)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        return content


async def _parts(state: AppState, session: Session, options: PredictRequest) -> AsyncIterator[bytes]:
    sink, scans = _Sink(), list(session.scans.values())
    names = _names(scans)
    with ZipFile(sink, "w", ZIP_STORED) as file:  # type: ignore[call-overload]  # PNG files are compressed already
        for scan in scans:
            make = partial(_pictures, state, session, scan, options, names[scan.id])
            for name, content in (await anyio.to_thread.run_sync(make, limiter=state.in_parallel)).items():
                file.writestr(name, content)
                yield sink.take()
        rows = [_named(row, names[scan.id]) for scan in scans if (row := session.rows.get((options.model, scan.id))) is not None]
        file.writestr("predictions.csv", csv_bytes(rows, state.predictions.models.get(options.model).classes))
        corrected: Mapping[str, Path | bytes] = {}
        if state.corrections is not None:
            corrected = await anyio.to_thread.run_sync(state.corrections.contents, scans, limiter=state.in_parallel)
        for name, found in corrected.items():
            file.writestr(f"corrections/{name}", found if isinstance(found, bytes) else found.read_bytes())
            yield sink.take()
    yield sink.take()


def _pictures(state: AppState, session: Session, scan: UploadedScan, options: PredictRequest, name: str) -> dict[str, bytes]:
    """Return the files of a scan; one that can't be read has its error in the table."""
    try:
        prediction = state.predict_for_table(session, scan, options)
    except BcdsegError:
        return {}
    pictures = pictures_of(prediction, name, overlay=True)
    return {f"{'masks' if path.endswith('_mask.png') else 'overlays'}/{path}": content for path, content in pictures.items()}


def _names(scans: Sequence[UploadedScan]) -> dict[str, str]:
    """Return a file name for each scan by its id; of several scans with one name, in any case, the later ones get a number."""
    names, used = {}, set[str]()
    for scan in scans:
        stem = _stem(scan.name)
        choices = (stem, *(f"{stem}_{number}" for number in range(2, len(scans) + 2)))
        names[scan.id] = next(name for name in choices if name.lower() not in used)
        used.add(names[scan.id].lower())
    return names


def _stem(name: str) -> str:
    return Path(next(iter(output_names([Path(name)]).values()))).name


def _named(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the row of a scan; where its files have a number, its name in the table has it too."""
    source = Path(row["source"])
    return row if _stem(source.name) == name else row | {"source": name + source.suffix}
