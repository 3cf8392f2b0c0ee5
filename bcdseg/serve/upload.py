"""A request's body as a scan. It stays in memory: no file is written, and its name is not looked at."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from bcdseg.data.dicom.opening import open_dicom
from bcdseg.data.dicom.scan import DicomFrame
from bcdseg.data.dicom.sniff import is_dicom
from bcdseg.data.images import FORMATS
from bcdseg.errors import OptionError, TooLargeError
from bcdseg.serve.limits import MEGA, Limits

NAME = "upload"
FORM = "multipart/form-data"
RAW = ("application/octet-stream", "application/dicom", "image/png", "image/jpeg")
THROWN_AWAY = 4  # times the limit: so much is read on and dropped, since a client that still sends sees no answer


class Upload(io.BytesIO):
    """The bytes of a file, called ``upload`` in messages and answers."""

    name = NAME


class _InMemory(MultiPartParser):
    """Starlette's own parser would put what is large into a temporary file."""

    spool_max_size = sys.maxsize


async def read_body(request: Request, most: int) -> bytes:
    """The file that a request carries, as a form or as the whole body.

    Args:
        request: Its body has not been read.
        most: Bytes; what is above is a 413.
    """
    content = await _read(request, most)
    if content is None:
        raise HTTPException(413, f"upload: has more than {most / MEGA:g} million bytes, the most that is taken here.")
    if request.headers.get("content-type", "").lower().startswith(FORM):
        return await _file_of_form(request, content)
    return content


async def drop_body(request: Request, most: int) -> None:
    """Read a body to its end, or to a few times the limit, and keep nothing of it."""
    await _read(request, most, keep=False)


def open_upload(content: bytes, frame: int | None, limits: Limits) -> Upload | DicomFrame:
    """The scan of an upload, or a frame of it, once its size was looked at. What can't be read at all, prediction says."""
    upload = Upload(content)
    if not is_dicom(upload):
        if frame not in (None, 1):
            raise OptionError(f"frame={frame}: only DICOM clips have more frames than one.")
        _check_pixels(*_picture_size(upload), limits)
        return upload
    image = open_dicom(upload, NAME)
    _check_pixels(*image.size, limits)
    count = len(image.frames)
    if frame is None and count > 1:
        raise OptionError(f"{NAME}: is a clip of {count} frames. Choose one of them: frame=1 to frame={count}.")
    if frame is not None and not 1 <= frame <= count:
        raise OptionError(f"frame={frame}: the file has frames 1 to {count}.")
    return DicomFrame(image, frame or 1) if count > 1 else upload


async def _read(request: Request, most: int, *, keep: bool = True) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most * THROWN_AWAY:
            return None
        if keep and size <= most:
            parts.append(part)
        else:
            parts.clear()
    return b"".join(parts) if size <= most else None


async def _file_of_form(request: Request, content: bytes) -> bytes:
    async def once() -> AsyncGenerator[bytes, None]:
        yield content

    try:
        form = await _InMemory(request.headers, once(), max_files=1, max_fields=8).parse()
    except (MultiPartException, ValueError):  # its words may quote the form
        raise HTTPException(400, f"upload: is no form ({FORM}) with one file. Send the file in the field 'file'.") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise HTTPException(422, "upload: the form holds no file. Send one in the field 'file', with a file name.")
        return await files[0].read()
    finally:
        await form.close()


def _picture_size(upload: Upload) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(upload, formats=FORMATS) as image:
                return image.height, image.width
    except Exception:  # whatever Pillow meets, reading the scan says it in our words
        return 0, 0
    finally:
        upload.seek(0)


def _check_pixels(height: int, width: int, limits: Limits) -> None:
    if height * width > limits.pixels:
        raise TooLargeError(
            f"{NAME}: is {height}x{width} pixels; the most that is taken here is {limits.max_megapixels:g} million. "
            "Crop it or make it smaller first."
        )
