"""Uploaded scans and sessions, in bounded memory."""

from __future__ import annotations

import io
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.app.clips import Clip, Video, frame_milliseconds, read_video, step_of
from bcdseg.app.limits import Limits
from bcdseg.data.images import FORMATS
from bcdseg.dicom.reader import open_dicom
from bcdseg.dicom.scan import DicomFrame
from bcdseg.errors import BcdsegError, GoneError, LimitError
from bcdseg.inference.clips import ClipSummary, summarize_clip, without_maps
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.writers import table_rows
from bcdseg.sources import SUFFIXES, is_dicom
from bcdseg.types import Failure, Mask
from bcdseg.web.bodies import MEGA


@dataclass(frozen=True, kw_only=True, eq=False)
class UploadedScan:
    """Scan in a session.

    Attributes:
        name: Name to display: the file's name, for a frame with its number.
        file_name: Name of the file.
        content: Bytes of its file, which the frames of a DICOM clip share; a frame of a video clip is an image file.
        frame: Frame of a clip, counted from 1; None for a file that is one scan.
        clip: The clip that it is a frame of; None for a file that is one scan.
        unmarked_dicom: Whether the file is DICOM without the mark ``DICM``, as old ones are.
        video_hash: Hash of the file of a video clip; None for other files.
        id: Random, unguessable id for URLs.
    """

    name: str
    file_name: str
    content: bytes = field(repr=False)
    frame: int | None = None
    clip: Clip | None = None
    unmarked_dicom: bool = False
    video_hash: str | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def is_dicom(self) -> bool:
        """Whether DICOM output can refer to it."""
        return is_dicom(self.content)


def scans_in(content: bytes, name: str, limits: Limits) -> list[UploadedScan]:
    """Return the scans of a file: one, or the frames of a clip.

    Pixels are read of video clips only; damage of other files is reported at prediction.

    Raises:
        LimitError: Its header declares more pixels than the limit.
        InputError: It is a clip that can't be decoded, or of a kind that isn't read.
    """
    if not (is_dicom(content) or name.lower().endswith(SUFFIXES)):
        if (video := read_video(content, name, limits)) is not None:
            return _frames_of(video, name)
        _check_pixels(_declared_size(content), name, limits)
        return [UploadedScan(name=name, file_name=name, content=content)]
    try:
        image = open_dicom(content, name)
    except BcdsegError:
        return [UploadedScan(name=name, file_name=name, content=content)]
    _check_pixels(image.size, name, limits)
    count, unmarked = len(image.frames), not is_dicom(content)
    if count == 1:
        return [UploadedScan(name=name, file_name=name, content=content, unmarked_dicom=unmarked)]
    every = step_of(count, limits.frames)
    clip = Clip(name=name, frames=count, every=every, milliseconds=frame_milliseconds(content, name))
    shared: dict[str, Any] = {"file_name": name, "content": content, "clip": clip, "unmarked_dicom": unmarked}
    return [UploadedScan(name=DicomFrame(image, number).name, frame=number, **shared) for number in clip.numbers]


def _frames_of(video: Video, name: str) -> list[UploadedScan]:
    shared: dict[str, Any] = {"file_name": name, "clip": video.clip, "video_hash": video.file_hash}
    frames = zip(video.clip.numbers, video.images, strict=True)
    return [UploadedScan(name=f"{name}#{number}", frame=number, content=image, **shared) for number, image in frames]


def _declared_size(content: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.height, image.width
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 1 << 16, 1 << 16
    except Exception:  # reading it reports what is wrong
        return 0, 0


def _check_pixels(size: tuple[int, int], name: str, limits: Limits) -> None:
    if size[0] * size[1] > limits.pixels:
        raise LimitError(
            f"{name}: has more than {limits.pixels / 1e6:g} million pixels, the most that the page takes. "
            "Make it smaller, or use bcdseg predict."
        )


@dataclass(frozen=True)
class PackedMask:
    """Mask in little memory: its bits, compressed."""

    size: tuple[int, int]
    content: bytes

    @classmethod
    def pack(cls, mask: Mask) -> PackedMask:
        """Compress a mask."""
        return cls((mask.shape[0], mask.shape[1]), zlib.compress(np.packbits(mask).tobytes(), 1))

    def unpack(self) -> Mask:
        """Return the mask."""
        bits = np.frombuffer(zlib.decompress(self.content), np.uint8)
        mask: Mask = np.unpackbits(bits, count=self.size[0] * self.size[1]).astype(bool).reshape(self.size)
        return mask


CLOSED = "The scans of this page are gone: it was idle for long, many others were opened, or the program was restarted. Reload it."


@dataclass(eq=False)
class Session:
    """Session of one open page.

    Attributes:
        scans: Scans by their id, in the order of upload.
        rows: Table row of each scan, by model and scan.
        frames: Prediction of each frame of a clip, without pixels, by model and scan.
        truths: Ground truth that was uploaded next to a scan, by scan.
        report: The evaluation report that is open.
        used: Time of the last request.
    """

    scans: dict[str, UploadedScan] = field(default_factory=dict)
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    frames: dict[tuple[str, str], Prediction | Failure] = field(default_factory=dict)
    truths: dict[str, PackedMask] = field(default_factory=dict)
    report: bytes | None = None
    used: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def add(self, scans: Iterable[UploadedScan], limits: Limits) -> None:
        """Store more scans: all of them or none."""
        with self._lock:
            wanted = {**self.scans, **{scan.id: scan for scan in scans}}
            if len(wanted) > limits.scans:
                raise LimitError(f"The page keeps {limits.scans} scans at most. Remove some, or use bcdseg predict for an archive.")
            _check_bytes(wanted, self.truths, limits)
            self.scans = wanted

    def keep_truth(self, scan: UploadedScan, mask: PackedMask, limits: Limits) -> None:
        """Store the ground truth of a scan, in place of the one before."""
        with self._lock:
            wanted = {**self.truths, scan.id: mask}
            _check_bytes(self.scans, wanted, limits)
            self.truths = wanted

    def keep(self, model: str, scan: UploadedScan, result: Prediction | Failure, classes: Sequence[str]) -> None:
        """Store the table row of a scan and, for a frame, its prediction for the clip's summary."""
        with self._lock:
            self.rows[model, scan.id] = table_rows([result], classes)[0]
            if scan.frame is not None:
                self.frames[model, scan.id] = result if isinstance(result, Failure) else _without_masks(result)

    def clips(self, model: str) -> list[tuple[Clip, ClipSummary]]:
        """Return each clip with its summary over the frames that are predicted so far."""
        clips: dict[Clip, list[Prediction | Failure]] = {}
        for key, scan in list(self.scans.items()):  # others may be removed meanwhile
            if scan.clip is not None and (result := self.frames.get((model, key))) is not None:
                clips.setdefault(scan.clip, []).append(result)
        return [(clip, summarize_clip(results)) for clip, results in clips.items()]

    def scan(self, key: str) -> UploadedScan:
        """Return a scan by its id."""
        try:
            return self.scans[key]
        except KeyError:
            raise GoneError("This scan was removed. Open it again.") from None

    def remove(self, key: str) -> None:
        """Remove a scan and its results."""
        with self._lock:
            self.scans.pop(key, None)
            self.truths.pop(key, None)
            self.rows = {place: row for place, row in self.rows.items() if place[1] != key}
            self.frames = {place: result for place, result in self.frames.items() if place[1] != key}


def _check_bytes(scans: Mapping[str, UploadedScan], truths: Mapping[str, PackedMask], limits: Limits) -> None:
    sizes = {id(scan.content): len(scan.content) for scan in scans.values()}
    if sum(sizes.values()) + sum(len(mask.content) for mask in truths.values()) > limits.session_bytes:
        raise LimitError(f"The page keeps {limits.session_bytes // MEGA} MB of scans at most. Remove some.")


def _without_masks(prediction: Prediction) -> Prediction:
    return replace(without_maps(prediction), mask=None, candidate_mask=None)


class Sessions:
    """Open sessions, by unguessable tokens."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self) -> str:
        """Open a session and return its token; when there are too many, the least recently used one is closed."""
        token = secrets.token_hex(16)
        with self._lock:
            self._sessions[token] = Session(used=time.monotonic())
            while len(self._sessions) > self.limits.sessions:
                self._sessions.popitem(last=False)
        return token

    def get(self, token: str) -> Session:
        """Return the session of a token."""
        self.sweep()
        with self._lock:
            if token not in self._sessions:
                raise GoneError(CLOSED)
            self._sessions.move_to_end(token)
            session = self._sessions[token]
            session.used = time.monotonic()
            return session

    def close(self, token: str) -> None:
        """Close a session and remove its scans."""
        with self._lock:
            self._sessions.pop(token, None)

    def sweep(self) -> None:
        """Close the sessions that have been idle for too long."""
        latest = time.monotonic() - self.limits.idle_seconds
        with self._lock:
            for token in [token for token, session in self._sessions.items() if session.used < latest]:
                del self._sessions[token]

    def scan_ids(self) -> set[str]:
        """Return the ids of all stored scans."""
        with self._lock:
            return {key for session in self._sessions.values() for key in session.scans}

    def __len__(self) -> int:
        return len(self._sessions)
