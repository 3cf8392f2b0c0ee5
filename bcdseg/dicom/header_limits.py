"""Limits on the size of a DICOM header and of its inflated content.

pydicom creates Python objects for each element, item and value, which takes up to 20 microseconds each. A file of a few hundred
kilobytes can declare millions of them, so they are counted while pydicom reads.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import unpack
from types import TracebackType
from typing import Any, BinaryIO

from bcdseg.dicom.guard import pydicom
from bcdseg.errors import ImageError

MOST_ELEMENTS = 100_000  # an item counts as three; a clip of 2,000 frames with its own groups per frame has half as many
MOST_VALUES = 500_000  # numbers and texts in elements that are used; a colour palette has 200,000
MOST_BYTES = 2**28  # bytes read from a header; elements that are not needed are skipped, unless they are in sequences
MOST_VALUE_BYTES = 2**18  # bytes of an element that is used and is not a sequence; a table of 65,536 colours has half as many
MOST_CHARSET_BYTES = 2**10  # pydicom converts character sets immediately, also in sequences
AT_PIXELS = 0x7FE00008  # the first tag of pixel data
CHARSET, UNDEFINED = 0x00080005, 0xFFFFFFFF
CHARSET_STARTS = (b"\x08\x00\x05\x00", b"\x00\x08\x00\x05")
TOO_MUCH = ", the most that is read. Export the scan again, without it."
ELEMENT_START = 8  # bytes at the start of each element and item
COSTS = {ELEMENT_START: 1, 2: 2}
"""Number of elements that a read counts as, by its size; 2 bytes are read of each item, which takes longer than an element."""

NUMERIC = {"US": 2, "SS": 2, "AT": 4, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "SV": 8, "UV": 8}


class HeaderBudget:
    """A counter of what is read from one header.

    Args:
        name: Name of the source in errors.
        most_elements: Largest number of elements and items.
        with_pixels: Whether the pixel data are read too; then bytes and values are not counted.

    Attributes:
        problem: Error to raise after a limit is reached.
    """

    def __init__(self, name: str, *, most_elements: int = MOST_ELEMENTS, with_pixels: bool = False) -> None:
        self.problem: ImageError | None = None
        self._name, self._most_elements, self._with_pixels = name, most_elements, with_pixels
        self._elements = self._values = self._bytes = 0

    def count(self, *, elements: int = 0, values: int = 0, size: int = 0) -> None:
        """Add to the counts."""
        self._elements, self._values, self._bytes = self._elements + elements, self._values + values, self._bytes + size
        if self._elements > self._most_elements:
            self.refuse(f"has more than {self._most_elements:,} elements{TOO_MUCH}")
        elif self._with_pixels:
            return
        elif self._values > MOST_VALUES:
            self.refuse(f"has more than {MOST_VALUES:,} values{TOO_MUCH}")
        elif self._bytes > MOST_BYTES:
            self.refuse(f"has more than {MOST_BYTES // 2**20} MB{TOO_MUCH}")

    def refuse(self, reason: str) -> None:
        """Record that a limit is reached; only the first one is reported."""
        self.problem = self.problem or ImageError(f"{self._name}: its header {reason}")

    def check(self) -> None:
        """Raise the recorded error, if there is one."""
        if self.problem is not None:
            raise self.problem from None


class LimitedFile:
    """A DICOM file that ends where a limit is reached.

    pydicom replaces errors that are raised in ``read``. So the file ends instead, and the error is raised at the end of its
    ``with`` block.

    Attributes:
        budget: Counter of what is read.
        inflated: Content of a file that is deflated as a whole, else None.
        most_value_bytes: Largest number of bytes of a value that is read.
    """

    def __init__(self, file: BinaryIO, budget: HeaderBudget, *, inflated: bytes | None = None) -> None:
        self.budget, self.inflated = budget, inflated
        self.most_value_bytes: float = MOST_VALUE_BYTES
        self.seek, self.tell = file.seek, file.tell
        self._file, self._in_charset = file, False

    def read(self, size: int = -1) -> bytes:
        """Read bytes, and none after a limit is reached."""
        if self.budget.problem is None:
            most = MOST_CHARSET_BYTES if self._in_charset else self.most_value_bytes
            if size < 0:  # pydicom reads in this way what it then inflates without a limit
                self.budget.refuse("is deflated, and its first element is not its length. Convert it: dcmconv +te IN OUT.")
            elif size > most:
                self.budget.refuse(f"has an element of more than {most / 2**10:g} KB{TOO_MUCH}")
            else:
                content = self._file.read(size)
                if size == ELEMENT_START:
                    self._in_charset = content[:4] in CHARSET_STARTS
                self.budget.count(elements=COSTS.get(size, 0), size=len(content))
            if self.budget.problem is None:
                return content
        return b""

    def __enter__(self) -> LimitedFile:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None or isinstance(error, Exception):
            self.budget.check()


def read_header(file: LimitedFile, keywords: Sequence[str], stop: Callable[[int, str | None, int], bool]) -> Any:
    """Read elements of a header, as a pydicom ``Dataset``.

    Args:
        file: The file, at its beginning.
        keywords: Keywords of the elements that are kept.
        stop: Function of the tag, value representation and length of an element; reading ends before the first one for which it
            returns True.
    """
    dictionary = pydicom("pydicom.datadict")
    tags = [dictionary.tag_for_keyword(keyword) for keyword in keywords]
    short = {CHARSET, *(tag for tag in tags if dictionary.dictionary_VR(tag) != "SQ")}

    def stopping(tag: int, vr: str | None, length: int) -> bool:
        file.most_value_bytes = MOST_VALUE_BYTES if tag in short and length != UNDEFINED else MOST_BYTES
        return stop(tag, vr, length)

    header = pydicom("pydicom.filereader").read_partial(file, stopping, force=True, specific_tags=tags)
    file.budget.check()
    return header


def convert_header(header: Any, budget: HeaderBudget, *, only: Mapping[int, frozenset[int]]) -> None:
    """Convert all elements of a header, also those in sequences, before threads use them.

    pydicom converts an element, however long it is, only when it is first used.

    Args:
        header: A pydicom ``Dataset`` that was read from a file; it is changed in place.
        budget: Counter of what was read from the file.
        only: Tags of the elements that the items of a sequence keep, by the tag of the sequence.
    """
    datasets = [header]
    for dataset in datasets:
        for tag in list(dataset.keys()):
            items = _convert_sequence(dataset, tag, budget)
            kept = only.get(tag) if dataset is header else None
            if kept is not None:
                for item in items:
                    for other in set(item.keys()) - kept:
                        del item[other]
            datasets += items
        for element in _raw(dataset):
            content = element.value or b""
            size = NUMERIC.get(_vr(element, dataset))
            budget.count(values=content.count(b"\\") + 1 if size is None else len(content) // size)
        budget.check()
    list(header.iterall())


def _convert_sequence(dataset: Any, tag: Any, budget: HeaderBudget) -> list[Any]:
    """Return the items of a sequence, or none for another element."""
    element = dataset.get_item(tag)
    if not getattr(element, "is_raw", False):
        return list(element.value or ()) if element.VR == "SQ" else []
    if _vr(element, dataset) != "SQ":
        return []
    content = element.value or b""
    with LimitedFile(io.BytesIO(content), budget) as file:
        file.most_value_bytes = MOST_BYTES
        read = pydicom("pydicom.filereader").read_sequence
        order = element.is_implicit_VR, element.is_little_endian
        sequence = read(file, *order, len(content), pydicom("pydicom.charset").default_encoding)
    dataset[tag] = pydicom("pydicom.dataelem").DataElement(tag, "SQ", sequence)
    return list(sequence)


def _raw(dataset: Any) -> Iterator[Any]:
    """Return the elements that are not converted yet."""
    return (element for tag in list(dataset.keys()) if getattr(element := dataset.get_item(tag), "is_raw", False))


def _vr(element: Any, dataset: Any) -> str:
    """Return the value representation that pydicom chooses for an element."""
    chosen: dict[str, Any] = {}
    pydicom("pydicom.hooks").raw_element_vr(element, chosen, ds=dataset)
    return str(chosen["VR"])


DEFLATED = b"1.2.840.10008.1.2.1.99"
MOST, PIECE = 2**28, 2**20
META_STARTS, META_LENGTH, META_MOST = 144, slice(140, 144), 2**16
GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"


def plain(file: BinaryIO, name: str, budget: HeaderBudget | None = None) -> LimitedFile:
    """Return a file with elements that pydicom can read: the file itself from its beginning, or its inflated content.

    pydicom would inflate all content, however large it becomes.

    Args:
        file: The open file, at its beginning.
        name: Name of the source in errors.
        budget: Limits of the header; by default those of a scan.
    """
    budget = budget or HeaderBudget(name)
    start = file.read(META_STARTS)
    if start[132:140] != GROUP_LENGTH or DEFLATED not in file.read(meta := min(unpack("<L", start[META_LENGTH])[0], META_MOST)):
        file.seek(0)
        return LimitedFile(file, budget)
    file.seek(META_STARTS + meta)
    deflated = file.read()
    if sum(map(len, _inflated(deflated))) > MOST:  # the size is computed before any content is stored
        raise ImageError(f"{name}: its deflated content becomes larger than {MOST // 2**20} MB. Convert it: dcmconv +te IN OUT.")
    inflated = b"".join(_inflated(deflated))
    return LimitedFile(io.BytesIO(inflated), budget, inflated=inflated)


def _inflated(content: bytes) -> Iterator[bytes]:
    """Yield inflated content in pieces, up to the first piece beyond the limit."""
    inflater, left, total = zlib.decompressobj(-zlib.MAX_WBITS), content, 0
    while left and not inflater.eof and total <= MOST:
        piece = inflater.decompress(left, PIECE)
        left, total = inflater.unconsumed_tail, total + len(piece)
        yield piece
