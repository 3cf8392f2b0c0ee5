"""Video clips (MP4, AVI, MOV): their frames as scans, and as image files for a data set (extra ``video``)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.data.images import to_uint8
from bcdseg.errors import ImageError, ImageNotFoundError, OptionError, OutputError
from bcdseg.extras import require
from bcdseg.files import check_free, exists, write_whole
from bcdseg.partial import locked, part_of, remove_leftovers
from bcdseg.sources import VIDEO_SUFFIXES, is_dicom, is_video, open_regular
from bcdseg.table_text import csv_text
from bcdseg.types import Pixels

TABLE = "frames.csv"
MOST_FRAMES = 100_000
FRAME_COUNT = 7  # OpenCV's CAP_PROP_FRAME_COUNT


@dataclass(eq=False)
class VideoClip:
    """An opened clip, whose frames are decoded one after another.

    Attributes:
        name: Path of the clip.
        frames: Number of frames that its header states.
    """

    name: str
    frames: int
    _decoder: Any = field(repr=False)
    _next: int = field(default=1, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    def read(self, number: int) -> Pixels:
        """Return a frame, counted from 1, as gray if its channels are equal, else as RGB.

        Raises:
            ImageError: The frame can't be decoded.
        """
        with self._lock:
            if number < self._next:
                self._decoder, self._next = _open(self.name), 1
            while self._next < number and self._decoder.grab():
                self._next += 1
            done, frame = self._decoder.read() if self._next == number else (False, None)
            if not done or frame is None:
                raise ImageError(
                    f"{self.name}#{number}: the frame can't be decoded. The header states {self.frames} frames, of which the first "
                    f"{self._next - 1} can be decoded: the clip is cut or damaged, or its header is wrong. Export it again, or "
                    "write a new header for the frames that it contains: ffmpeg -i IN -c copy OUT"
                )
            self._next += 1
        gray = frame.ndim == 2 or bool((frame == frame[..., :1]).all())
        plane = frame if frame.ndim == 2 else frame[..., 0]
        return np.ascontiguousarray(plane if gray else frame[..., ::-1])


@dataclass(frozen=True)
class VideoFrame:
    """One frame of an opened clip, counted from 1."""

    image: VideoClip
    number: int

    @property
    def name(self) -> str:
        """Name of the clip and number of the frame: ``clip.mp4#12``."""
        return f"{self.image.name}#{self.number}"

    def read(self) -> Pixels:
        """Return the pixels of the frame."""
        return self.image.read(self.number)


def open_clip(path: str | os.PathLike[str]) -> VideoClip:
    """Open a clip.

    Raises:
        ImageError: The file can't be decoded, or has more frames than are read.
        ImageNotFoundError: There is no such file.
        MissingExtraError: OpenCV is not installed.
    """
    name = os.fspath(path)
    decoder = _open(name)
    frames = int(decoder.get(FRAME_COUNT))
    if frames < 1:
        raise ImageError(f"{name}: its header states no frames, as that of an image. Give a video clip, or export it again.")
    if frames > MOST_FRAMES:
        raise ImageError(f"{name}: its header states {frames:,} frames; {MOST_FRAMES:,} are read. Cut it.")
    return VideoClip(name, frames, decoder)


def frames_of(path: str | os.PathLike[str], every: int = 1) -> Iterator[VideoFrame]:
    """Yield each n-th frame of a clip, without decoding it."""
    clip = open_clip(path)
    return (VideoFrame(clip, number) for number in range(1, clip.frames + 1, every))


def extract_frames(
    clips: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    every: int = 1,
    overwrite: bool = False,
) -> Path:
    """Write the frames of video clips as PNG files, and a table of them whose groups are the clips.

    The table has the columns ``image``, ``group`` and ``fact:frame``; add columns of labels and masks, and open it with
    ``bcdseg.open_dataset``. A split then keeps the frames of a clip in one part.

    Args:
        clips: One clip (MP4, AVI, MOV), a folder of clips, or a list of clips.
        folder: Folder for the images and ``frames.csv``.
        every: Step between the frames that are written: n writes every n-th frame.
        overwrite: Whether existing files may be replaced.

    Returns:
        Path of the table.

    Raises:
        ImageError: A clip can't be decoded; then no files are written.
        OptionError: There are no clips, two clips have one name, or ``every`` is below 1.
        OutputExistsError: A file exists and may not be replaced.
        OutputError: The folder can't be written.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise OptionError(f"every={every!r}: give n to write each n-th frame, 1 or more.")
    folder, paths = Path(folder), _clips(clips)
    check_free([folder / TABLE, *(folder / _frame_name(path, 1) for path in paths)], overwrite=overwrite)
    with _part_folder(folder) as part:
        rows: list[tuple[object, ...]] = []
        for path in paths:
            for frame in frames_of(path, every):
                name = _frame_name(path, frame.number)
                write_whole(part / name, _png(frame.read()))
                rows.append((name, path.stem, frame.number))
        names = [str(name) for name, *_ in rows]
        check_free([folder / name for name in names], overwrite=overwrite)
        with _write_errors(folder):
            for name in names:
                (part / name).replace(folder / name)
    return write_whole(folder / TABLE, csv_text(["image", "group", "fact:frame"], rows).encode(), overwrite=overwrite)


def _frame_name(clip: Path, number: int) -> str:
    return f"{clip.stem}_{number:05}.png"


@contextmanager
def _part_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder in a folder, for files that are moved out of it when all are written.

    Afterwards it is removed; so is the folder, if it is new and stayed empty.
    """
    part, is_new = part_of(folder / TABLE), not exists(folder)
    try:
        with _write_errors(folder):
            part.mkdir(parents=True)
        with locked(part):
            remove_leftovers(folder / TABLE)
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if is_new:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: can't be written ({error.strerror or error}). Choose another place.") from error


def _clips(clips: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the paths of the clips."""
    given = [clips] if isinstance(clips, (str, os.PathLike)) else list(clips)
    paths = [path for one in given for path in _clips_of(Path(one))]
    stems = [path.stem for path in paths]
    repeated = [path for path in paths if stems.count(path.stem) > 1]
    if not paths or repeated:
        found = f"{repeated[0]} and {repeated[1]} have one name" if repeated else f"no {', '.join(VIDEO_SUFFIXES)} in {given}"
        raise OptionError(f"clips: {found}. Give clips of different names.")
    return paths


def _clips_of(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if is_video(one)) if path.is_dir() else [path]


def _open(name: str) -> Any:
    """Return OpenCV's decoder of a clip."""
    cv2 = require("cv2", extra="video", purpose="Reading video clips")
    try:
        open_regular(Path(name), name).close()
    except FileNotFoundError:
        raise ImageNotFoundError(f"{name}: no such file.") from None
    if is_dicom(name):
        raise ImageError(
            f"{name}: is DICOM, not a video file. model.predict reads DICOM clips: each prediction has the pixels of its frame "
            "in `image`, which can be saved as an image file."
        )
    decoder = cv2.VideoCapture(name)
    if not decoder.isOpened():
        raise ImageError(f"{name}: can't be decoded as a video clip. It is damaged, or of a format that OpenCV doesn't read.")
    return decoder


def _png(pixels: Pixels) -> bytes:
    content = BytesIO()
    Image.fromarray(to_uint8(pixels)).save(content, "PNG", compress_level=1)
    return content.getvalue()
