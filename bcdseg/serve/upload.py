"""Request bodies, read as scans in memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from bcdseg.serve.limits import MEGA

NAME = "upload"
FORM = "multipart/form-data"
RAW = ("application/octet-stream", "application/dicom", "image/png", "image/jpeg")


class _InMemory(MultiPartParser):
    """Parser that keeps files in memory; Starlette's own would write large ones to a temporary file."""

    spool_max_size = sys.maxsize


async def read_body(request: Request, most: int) -> bytes:
    """Return the file in a request, sent as a form or as the whole body.

    Args:
        request: A request whose body has not been read.
        most: Largest number of bytes; a larger body is answered with 413, and its rest is not read.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    content = b"".join(parts)
    if request.headers.get("content-type", "").lower().startswith(FORM):
        return await _file_of_form(request, content)
    return content


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"upload: has more than {most / MEGA:g} million bytes, the most that is taken here.")


async def _file_of_form(request: Request, content: bytes) -> bytes:
    async def once() -> AsyncGenerator[bytes, None]:
        yield content

    try:
        form = await _InMemory(request.headers, once(), max_files=1, max_fields=8).parse()
    except (MultiPartException, ValueError):  # its message may quote the form
        raise HTTPException(400, f"upload: is no form ({FORM}) with one file. Send the file in the field 'file'.") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise HTTPException(422, "upload: the form holds no file. Send one in the field 'file', with a file name.")
        return await files[0].read()
    finally:
        await form.close()
