"""Request bodies, read as scans in memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

NAME = "upload"
FIELD = "file"
FORM = "multipart/form-data"
RAW = ("application/octet-stream", "application/dicom", "image/png", "image/jpeg")


class _InMemory(MultiPartParser):
    """Parser that keeps files in memory; Starlette's own would write large ones to a temporary file."""

    spool_max_size = sys.maxsize


async def check_options(request: Request) -> None:
    """Raise an error for an option in the address that would be ignored: an unknown one, or one that is given twice."""
    options = _options(request)
    if len(request.query_params.multi_items()) > len(request.query_params):
        raise HTTPException(422, f"The address has an option more than once. Give each of its options once: {', '.join(options)}.")
    if not set(request.query_params) <= set(options):  # names that were sent are not quoted: they may be a patient's
        raise HTTPException(422, f"The address has an option that this route does not have: its options are {', '.join(options)}.")


def _options(request: Request) -> list[str]:
    """Return the names of the options of the route."""
    return [option.alias for option in request.scope["route"].dependant.query_params]


async def read_file(request: Request, body: bytes) -> bytes:
    """Return the file in the body of a request: the file of a form, or the whole body."""
    if request.headers.get("content-type", "").lower().startswith(FORM):
        return await _file_of_form(request, body)
    return body


async def _file_of_form(request: Request, body: bytes) -> bytes:
    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(request.headers, once(), max_files=1, max_fields=8).parse()
    except (MultiPartException, ValueError):  # its message may quote the form
        raise HTTPException(400, f"upload: is not a form ({FORM}) with one file. Send the file in the field 'file'.") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise HTTPException(422, "upload: the form contains no file. Send one in the field 'file', with a file name.")
        if any(name != FIELD for name, _ in form.multi_items()):
            raise HTTPException(
                422,
                f"The form has a field other than {FIELD!r}, which is its only one. Options belong in the address, such as "
                f"?threshold=0.5: {', '.join(_options(request))}.",
            )
        return await files[0].read()
    finally:
        await form.close()
