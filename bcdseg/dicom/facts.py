"""Facts about the machine from the header of a DICOM file: no name, number or date of a patient is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bcdseg.dicom.guard import guarded
from bcdseg.dicom.header_limits import convert_header, plain, read_header
from bcdseg.errors import BcdsegError
from bcdseg.sources import open_regular
from bcdseg.types import Fact

ELEMENTS = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "transducer": "TransducerType",
    "probe": "TransducerData",
    "side": "ImageLaterality",
    "breast_side": "Laterality",
}
SIDES = {"L": "left", "R": "right"}
LAST = 0x00200062  # the tag of the last of these elements
MOST_CHARACTERS = 64


def header_facts(path: Path) -> dict[str, Fact]:
    """Return the machine, the transducer and the side of the breast that a file's header names.

    ``device`` is the manufacturer with its model. A file that can't be read has no facts; reading its scan reports the error.
    """
    name = str(path)
    try:
        with guarded(name), open_regular(path, name) as stored, plain(stored, name) as file:
            header = read_header(file, list(ELEMENTS.values()), lambda tag, _vr, _length: tag > LAST)
            convert_header(header, file.budget, only={})
            found = {fact: _text(header.get(keyword)) for fact, keyword in ELEMENTS.items()}
    except BcdsegError:
        return {}
    device = " ".join(filter(None, (found["manufacturer"], found["model"])))
    return {
        name: value
        for name, value in {
            "manufacturer": found["manufacturer"],
            "model": found["model"],
            "device": device,
            "transducer": found["probe"] or found["transducer"],
            "side": SIDES.get(found["side"]) or SIDES.get(found["breast_side"], ""),
        }.items()
        if value
    }


def _text(value: Any) -> str:
    """Return the first value of an element as text of a bounded length."""
    first = value if isinstance(value, str) or value is None else next(iter(value), "")
    return "".join(mark for mark in str(first or "") if mark.isprintable()).strip()[:MOST_CHARACTERS]
