"""What a compressed frame itself says of its size: decoders believe it, so it is compared with the header before they run."""

from __future__ import annotations

from struct import unpack_from
from typing import NamedTuple

JPEG, JPEG_2000, JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
NO_FRAME_HEADER = (0xC4, 0xC8, 0xCC)
JPEG_LS = 0xF7


class Declared(NamedTuple):
    """Height, width and numbers a pixel."""

    height: int
    width: int
    samples: int


def without_boxes(frame: bytes) -> bytes:
    """A JPEG 2000 frame without the JP2 file around it, which some writers leave on."""
    return frame[max(0, frame.find(JPEG_2000)) :] if frame.startswith(JP2) else frame


def declared_size(frame: bytes) -> Declared | None:
    """Of a JPEG, JPEG-LS or JPEG 2000 frame; None when it is none of them or is damaged before it says so."""
    if frame.startswith(JPEG_2000) and len(frame) >= 42:
        right, bottom, left, top = unpack_from(">4L", frame, 8)
        (samples,) = unpack_from(">H", frame, 40)
        return Declared(bottom - top, right - left, samples)
    return _of_jpeg(frame) if frame[:2] == JPEG else None


def _of_jpeg(frame: bytes) -> Declared | None:
    place = 2
    while place + 10 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF:  # a byte to fill up
            place += 1
            continue
        if marker == JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in NO_FRAME_HEADER):
            return Declared(*unpack_from(">HHB", frame, place + 5))
        place += 2 + int(unpack_from(">H", frame, place + 2)[0])
    return None
