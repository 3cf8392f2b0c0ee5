"""DICOM files that are deflated as a whole: inflated into memory, up to a limit that no scan comes near."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from struct import unpack
from typing import BinaryIO

from bcdseg.data.dicom.header_limits import HeaderBudget, LimitedFile
from bcdseg.errors import ImageError

DEFLATED = b"1.2.840.10008.1.2.1.99"
MOST, PIECE = 2**28, 2**20
META_STARTS, META_LENGTH, META_MOST = 144, slice(140, 144), 2**16
GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"


def plain(file: BinaryIO, name: str, budget: HeaderBudget | None = None) -> LimitedFile:
    """Return the file's elements as pydicom reads them: the file itself from its beginning, or what was deflated in it.

    pydicom would inflate all content, however large it becomes.

    Args:
        file: The open file, at its beginning.
        name: The source's name in an error.
        budget: The limits of its header; by default those of a scan.
    """
    budget = budget or HeaderBudget(name)
    start = file.read(META_STARTS)
    if start[132:140] != GROUP_LENGTH or DEFLATED not in file.read(meta := min(unpack("<L", start[META_LENGTH])[0], META_MOST)):
        file.seek(0)
        return LimitedFile(file, budget)
    file.seek(META_STARTS + meta)
    deflated = file.read()
    if sum(map(len, _inflated(deflated))) > MOST:  # counted before any of it is kept
        raise ImageError(f"{name}: its deflated content becomes larger than {MOST // 2**20} MB. Convert it: dcmconv +te IN OUT.")
    inflated = b"".join(_inflated(deflated))
    return LimitedFile(io.BytesIO(inflated), budget, inflated=inflated)


def _inflated(content: bytes) -> Iterator[bytes]:
    """Piece by piece, up to the first piece beyond the limit."""
    inflater, left, total = zlib.decompressobj(-zlib.MAX_WBITS), content, 0
    while left and not inflater.eof and total <= MOST:
        piece = inflater.decompress(left, PIECE)
        left, total = inflater.unconsumed_tail, total + len(piece)
        yield piece
