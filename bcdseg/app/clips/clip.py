"""An uploaded clip: which of its frames are used, and how fast they follow each other."""

from __future__ import annotations

import io
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any

from bcdseg.dicom.guard import guarded
from bcdseg.dicom.header_limits import convert_header, plain, read_header
from bcdseg.errors import BcdsegError

MILLISECONDS = ("FrameTime", "FrameTimeVector")
RATES = ("RecommendedDisplayFrameRate", "CineRate")  # frames per second
LAST = 0x00181065  # the tag of the last of these elements
SHORTEST, LONGEST = 1.0, 10_000.0  # milliseconds; other values are errors of the file


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Clip with some frames that are scans of a session.

    Attributes:
        name: Name of the file.
        frames: Number of frames of the file.
        every: n where each n-th frame is used.
        milliseconds: Time from one frame of the file to the next; None where the file does not state it.
        id: Random id.
    """

    name: str
    frames: int
    every: int
    milliseconds: float | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def numbers(self) -> range:
        """Numbers of the frames that are used, counted from 1."""
        return range(1, self.frames + 1, self.every)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON types, with the number of frames that are left out."""
        return asdict(self) | {"left_out": self.frames - len(self.numbers)}


def step_of(frames: int, most: int) -> int:
    """Return the smallest n for which each n-th frame of a clip is at most a number of frames."""
    return -(-frames // most)


def frame_milliseconds(content: bytes, name: str) -> float | None:
    """Return the time from frame to frame that a DICOM file states, in milliseconds, or None."""
    try:
        with guarded(name), plain(io.BytesIO(content), name) as file:
            header = read_header(file, (*MILLISECONDS, *RATES), lambda tag, _vr, _length: tag > LAST)
            convert_header(header, file.budget, only={})
            times = [_numbers(header.get(keyword)) for keyword in MILLISECONDS]
            rates = [_numbers(header.get(keyword)) for keyword in RATES]
    except BcdsegError:  # reading the scan reports it
        return None
    # The first time of a vector is that of the first frame, which is 0.
    found = [*times[0][:1], *times[1][1:2], *(1000 / rate for one in rates for rate in one[:1] if rate > 0)]
    return next((one for one in found if plausible(one) is not None), None)


def plausible(milliseconds: float | None) -> float | None:
    """Return a time from frame to frame, or None where it can't be one."""
    return milliseconds if milliseconds is not None and SHORTEST <= milliseconds <= LONGEST else None


def _numbers(value: Any) -> list[float]:
    """Return the numbers of an element, without values that aren't numbers."""
    values = [] if value is None else [value] if isinstance(value, (str, int, float)) or not hasattr(value, "__iter__") else value
    found: list[float] = []
    for one in values:
        try:
            found.append(float(one))
        except (TypeError, ValueError):
            continue
    return found
