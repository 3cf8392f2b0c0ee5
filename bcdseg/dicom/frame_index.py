"""Byte ranges of the frames of a DICOM file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import unpack, unpack_from
from typing import BinaryIO, NamedTuple

from bcdseg.errors import ImageError

ITEM = b"\xfe\xff\x00\xe0"
MOST_PIECES = 1_000_000
JPEG_ENDS = b"\xff\xd9"


class Piece(NamedTuple):
    """A byte range."""

    start: int
    length: int


def read_piece(file: BinaryIO, piece: Piece) -> bytes:
    """Read the bytes of a range."""
    file.seek(piece.start)
    return file.read(piece.length)


def find_frames(
    opener: Callable[[], BinaryIO], pixels: Piece, *, name: str, count: int, frame_length: int | None
) -> tuple[tuple[Piece, ...], ...]:
    """Return the byte ranges of each frame.

    Args:
        opener: Function that opens the file with the pixel data.
        pixels: Byte range of the pixel data; its length may be undefined when they are compressed.
        name: Name of the source in errors.
        count: Number of frames that the header declares.
        frame_length: Bytes per frame, or None when frames are compressed.
    """
    with opener() as file:
        end = file.seek(0, 2)
        if frame_length is not None:
            return _fixed(pixels, min(end, pixels.start + pixels.length), name, count, frame_length)
        file.seek(pixels.start)
        offsets, pieces = _pieces(file, end, name)
        frames = _grouped(file, offsets, pieces, count)
    if len(frames) < count:
        raise ImageError(
            f"{name}: declares {count} frames and contains {len(frames)}. The file is cut off: copy or export it again."
        )
    return tuple(frames[:count])


def _fixed(pixels: Piece, end: int, name: str, count: int, length: int) -> tuple[tuple[Piece, ...], ...]:
    there = max(0, end - pixels.start)
    if count * length > there:
        raise ImageError(
            f"{name}: declares {count} frame{'s' * (count > 1)} of {length} bytes and contains {there} bytes of pixels. "
            "The file is cut off: copy or export it again."
        )
    return tuple((Piece(pixels.start + index * length, length),) for index in range(count))


def _pieces(file: BinaryIO, end: int, name: str) -> tuple[list[int], list[Piece]]:
    """Return the basic offset table and the fragments after it."""
    items = _items(file, end)
    table = next(items, None)
    if table is None:
        raise ImageError(f"{name}: its compressed pixel data are cut off. Copy or export it again.")
    pieces: list[Piece] = []
    for piece in items:
        pieces.append(piece)
        if len(pieces) > MOST_PIECES:
            raise ImageError(f"{name}: its pixel data are in more than {MOST_PIECES} pieces. Export it again.")
    file.seek(table.start)
    known = file.read(table.length // 4 * 4) if table.length <= 4 * MOST_PIECES else b""
    return list(unpack(f"<{len(known) // 4}L", known)), pieces


def _items(file: BinaryIO, end: int) -> Iterator[Piece]:
    """Yield items up to the delimiter, or up to an item that extends beyond the end of the file."""
    while True:
        place = file.tell()
        start = file.read(8)
        if len(start) < 8 or start[:4] != ITEM:
            return
        length = int(unpack("<L", start[4:])[0])
        if place + 8 + length > end:
            return
        yield Piece(place + 8, length)
        file.seek(length, 1)


def _grouped(file: BinaryIO, offsets: Sequence[int], pieces: Sequence[Piece], count: int) -> list[tuple[Piece, ...]]:
    """Group fragments into frames: one each, or by the offset table, or up to a fragment that ends like a JPEG."""
    if len(pieces) == count:
        return [(piece,) for piece in pieces]
    if count == 1:
        return [tuple(pieces)] if pieces else []
    if len(offsets) == count and pieces:
        starts = set(offsets)
        return _split(pieces, [piece.start - pieces[0].start in starts for piece in pieces])
    ends = [True, *(_ends(file, piece) for piece in pieces[:-1])]
    return _split(pieces, ends)


def _split(pieces: Sequence[Piece], starts: Sequence[bool]) -> list[tuple[Piece, ...]]:
    frames: list[list[Piece]] = []
    for piece, first in zip(pieces, starts, strict=False):
        if first or not frames:
            frames.append([])
        frames[-1].append(piece)
    return [tuple(frame) for frame in frames]


def _ends(file: BinaryIO, piece: Piece) -> bool:
    file.seek(piece.start + max(0, piece.length - 10))
    return JPEG_ENDS in file.read(min(10, piece.length))


JPEG, JPEG_2000, JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
NO_FRAME_HEADER = (0xC4, 0xC8, 0xCC)
JPEG_LS = 0xF7


class Declared(NamedTuple):
    """The height, width and samples per pixel that a compressed frame declares."""

    height: int
    width: int
    samples: int


def without_boxes(frame: bytes) -> bytes:
    """Return a JPEG 2000 frame without the JP2 file header that some writers keep."""
    return frame[max(0, frame.find(JPEG_2000)) :] if frame.startswith(JP2) else frame


def declared_size(frame: bytes) -> Declared | None:
    """Return the declared size of a JPEG, JPEG-LS or JPEG 2000 frame; None for other formats and damaged headers."""
    if frame.startswith(JPEG_2000) and len(frame) >= 42:
        right, bottom, left, top = unpack_from(">4L", frame, 8)
        (samples,) = unpack_from(">H", frame, 40)
        return Declared(bottom - top, right - left, samples)
    return _of_jpeg(frame) if frame[:2] == JPEG else None


def _of_jpeg(frame: bytes) -> Declared | None:
    place = 2
    while place + 10 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker == JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in NO_FRAME_HEADER):
            return Declared(*unpack_from(">HHB", frame, place + 5))
        place += 2 + int(unpack_from(">H", frame, place + 2)[0])
    return None
