"""A process that decodes an uploaded video clip, so that a decoder in C that hangs can be ended without ending the page.

The process reads the clip from standard input, and writes facts as JSON and frames as PNG. Nothing is written to disk.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.app.clips import step_of
from bcdseg.data.reader_process import send
from bcdseg.data.video import MOST_FRAMES
from bcdseg.errors import BcdsegError, ImageError
from bcdseg.extras import require

WIDTH, HEIGHT, RATE, COUNT = 3, 4, 5, 7  # OpenCV's names of properties are in a module that takes long to import
MEMORY = 3 * 2**30
DAMAGED = "can't be decoded as a video clip. It is damaged, or of a format that OpenCV doesn't read."
TOO_MUCH = "the most that the page takes. Cut the clip or make it smaller."
LOW_PRIORITY = 5  # as a nice value


def main(name: str, most_frames: int, most_pixels: int, most_bytes: int, seconds: int) -> None:
    """Decode the clip on standard input.

    Args:
        name: Name of the clip in errors.
        most_frames: Largest number of frames that are written.
        most_pixels: Largest number of pixels of a frame.
        most_bytes: Largest number of bytes of all frames that are written.
        seconds: Limit of the processor time.
    """
    replies = os.fdopen(os.dup(1), "wb")
    for stream in (1, 2):  # decoders print messages that may quote the file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    _limit(seconds)
    try:
        decoder = _open(sys.stdin.buffer.read())
    except BcdsegError as error:
        send(replies, {"error": str(error)})
        return
    count, pixels = int(decoder.get(COUNT)), int(decoder.get(WIDTH)) * int(decoder.get(HEIGHT))
    if not decoder.isOpened() or not 1 <= count <= MOST_FRAMES:
        send(replies, {"error": f"{name}: {DAMAGED}"})
    elif pixels > most_pixels:
        send(replies, {"error": f"{name}: has more than {most_pixels / 1e6:g} million pixels, {TOO_MUCH}", "large": True})
    else:
        every, rate = step_of(count, most_frames), float(decoder.get(RATE))
        send(replies, {"frames": count, "every": every, "rate": rate})
        _send_frames(replies, _decoded(decoder, every), name, most_bytes)


def _open(content: bytes) -> Any:
    cv2 = require("cv2", extra="video", purpose="Reading video clips")
    try:
        return cv2.VideoCapture(io.BytesIO(content), cv2.CAP_FFMPEG, [])
    except TypeError:
        raise ImageError("Video clips from memory need OpenCV 4.11 or later. Run: pip install -U 'bcdseg[video]'") from None


def _send_frames(replies: Any, frames: Iterator[bytes], name: str, most_bytes: int) -> None:
    total = 0
    for content in frames:
        total += len(content)
        if total > most_bytes:
            send(replies, {"error": f"{name}: its frames have more than {most_bytes / 1e6:g} MB, {TOO_MUCH}", "large": True})
            return
        send(replies, {}, content)


def _decoded(decoder: Any, every: int) -> Iterator[bytes]:
    """Yield each n-th frame as PNG, up to the first one that can't be decoded."""
    number = 0
    while decoder.grab():
        if number % every == 0:
            done, frame = decoder.retrieve()
            if not done:
                return
            yield _png(frame)
        number += 1


def _png(frame: Any) -> bytes:
    """Return a frame as gray where its channels are equal, else as RGB, as the library reads clips."""
    is_gray = frame.ndim == 2 or bool((frame == frame[..., :1]).all())
    plane = frame if frame.ndim == 2 else frame[..., 0]
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane if is_gray else frame[..., ::-1])).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _limit(seconds: int) -> None:
    """Limit processor time and memory, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.nice(LOW_PRIORITY)
