"""Frames of an uploaded video clip (AVI, MP4, MOV), decoded in a process of its own."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import dataclass, field
from hashlib import blake2b

from bcdseg.app.clips.clip import Clip, plausible
from bcdseg.app.limits import Limits
from bcdseg.data.reader_process import receive
from bcdseg.errors import ImageError, InputError, LimitError

READ = {"AVI": rb"RIFF.{4}AVI ", "MP4 or MOV": rb".{4}(ftyp|moov|mdat|wide)"}
REFUSED = {"GIF": rb"GIF8", "WebM or Matroska": rb"\x1aE\xdf\xa3"}
HEAD = 16  # bytes that show the kind
START = "import sys; sys.path[:] = {path!r}; from bcdseg.app.clips.video_process import main; main{arguments}"


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
