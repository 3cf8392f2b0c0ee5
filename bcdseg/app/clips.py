"""Uploaded clips: the frames that are used, their rate, and video files (AVI, MP4, MOV), decoded in a process of their own."""

from __future__ import annotations

import io
import re
import secrets
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

from bcdseg.app.limits import Limits
from bcdseg.data.reader_process import receive
from bcdseg.dicom.guard import guarded
from bcdseg.dicom.header_limits import convert_header, plain, read_header
from bcdseg.errors import BcdsegError, ImageError, InputError, LimitError

MILLISECONDS = ("FrameTime", "FrameTimeVector")
RATES = ("RecommendedDisplayFrameRate", "CineRate")  # frames per second
LAST = 0x00181065  # the tag of the last of these elements
SHORTEST, LONGEST = 1.0, 10_000.0  # milliseconds; other values are errors of the file

READ = {"AVI": rb"RIFF.{4}AVI ", "MP4 or MOV": rb".{4}(ftyp|moov|mdat|wide)"}
REFUSED = {"GIF": rb"GIF8", "WebM or Matroska": rb"\x1aE\xdf\xa3"}
HEAD = 16  # bytes that show the kind
START = "import sys; sys.path[:] = {path!r}; from bcdseg.app.clip_process import main; main{arguments}"


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


@dataclass(frozen=True, kw_only=True)
class Video:
    """Decoded video clip.

    Attributes:
        clip: Its frames and rate.
        images: The used frames as PNG; empty bytes for a frame that can't be decoded.
        file_hash: Hash of the file.
    """

    clip: Clip
    images: list[bytes] = field(repr=False)
    file_hash: str


def read_video(content: bytes, name: str, limits: Limits) -> Video | None:
    """Return the frames of a video clip, or None for another kind of file.

    Raises:
        InputError: It is a clip of a kind that isn't read.
        ImageError: It can't be decoded, or takes too long.
        LimitError: It has more pixels or bytes than the limits.
    """
    if (refused := _kind(content, REFUSED)) is not None:
        raise InputError(
            f"{name}: is a clip ({refused}), which isn't read: DICOM, MP4, AVI and MOV are. Convert it to MP4, or export DICOM."
        )
    if _kind(content, READ) is None:
        return None
    replies = io.BytesIO(_decode(content, name, limits))
    facts = _received(replies)
    if facts is None:
        raise ImageError(f"{name}: can't be decoded in {limits.read_seconds:g} s, or is damaged. Cut the clip, or export it again.")
    count, every, rate = int(facts[0]["frames"]), int(facts[0]["every"]), facts[0]["rate"]
    time = plausible(1000 / rate) if rate > 0 else None
    clip = Clip(name=name, frames=count, every=every, milliseconds=time)
    images: list[bytes] = []
    while (reply := _received(replies)) is not None:
        images.append(reply[1])
    missing = len(clip.numbers) - len(images)
    file_hash = blake2b(content, digest_size=16).hexdigest()
    return Video(clip=clip, images=[*images, *[b""] * missing][: len(clip.numbers)], file_hash=file_hash)


def _kind(content: bytes, kinds: dict[str, bytes]) -> str | None:
    return next((kind for kind, start in kinds.items() if re.match(start, content[:HEAD], re.DOTALL)), None)


def _decode(content: bytes, name: str, limits: Limits) -> bytes:
    """Return what the process writes; it is ended after the time that may pass."""
    arguments = (name, limits.frames, limits.pixels, limits.session_bytes, int(limits.read_seconds))
    command = [sys.executable, "-c", START.format(path=sys.path, arguments=arguments)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=limits.passing_seconds, check=False)
    except subprocess.TimeoutExpired:
        return b""
    return done.stdout


def _received(replies: io.BytesIO) -> tuple[dict[str, float | int], bytes] | None:
    """Return the next message, or None at the end, and raise the error that it states."""
    try:
        reply = receive(replies)
    except ValueError:  # the process ended while it wrote
        return None
    if reply is None:
        return None
    facts, content = reply
    if "error" in facts:
        raise (LimitError if facts.get("large") else ImageError)(str(facts["error"]))
    return facts, bytes(content)
