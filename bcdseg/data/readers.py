"""Sources of scans: one or many, read one by one or in threads."""

from __future__ import annotations

import glob
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from bcdseg.data.images import SUFFIXES, read_picture
from bcdseg.data.masks import read_mask
from bcdseg.data.video import VideoFrame, frames_of, open_clip
from bcdseg.dicom.scan import DicomFrame, holds_many, members, read_frame
from bcdseg.errors import ImageError, ImageNotFoundError, OptionError
from bcdseg.sources import SUFFIXES as DICOM_SUFFIXES
from bcdseg.sources import VIDEO_SUFFIXES, ImageSource, is_dicom, is_video, source_name
from bcdseg.types import Area, Flag, Mask, Pixels, Sample, ScanImage

MORE_FRAMES = "more-frames"
"""Flag of a file whose first frame or page is read."""

DECODED = (np.ndarray, Image.Image)
"""Images in memory, which are neither files nor DICOM."""


def read_scan(source: ImageSource | ScanImage, *, keep_identifiers: bool = False) -> ScanImage:
    """Read one scan, or return a ``ScanImage`` as it is.

    An image or array is a single area without a spacing in millimetres; DICOM may have several areas with a spacing.
    """
    if isinstance(source, ScanImage):
        return source
    name, frame = source_name(source), None
    if isinstance(source, VideoFrame):
        frame, source = source.number, source.read()
    if not isinstance(source, DECODED):
        if isinstance(source, (str, os.PathLike)) and is_video(source):
            open_clip(source)  # reports what is wrong with a damaged clip
            raise ImageError(f"{name}: is a video clip, not one image. {FRAMES}")
        if isinstance(source, DicomFrame) or is_dicom(source):
            return read_frame(source, name, keep_identifiers=keep_identifiers)
    pixels, has_more_frames = read_picture(source, name)
    warnings = (Flag(MORE_FRAMES, "The file has several frames or pages; only the first is read."),) if has_more_frames else ()
    return ScanImage(source=name, pixels=pixels, areas=(Area(box=(0, 0, *pixels.shape[:2])),), frame=frame, warnings=warnings)


def read_sample_scan(image: Path) -> ScanImage:
    """Read the scan of a sample.

    Raises:
        ImageError: The file can't be read, or has several frames or pages.
    """
    scan = read_scan(image)
    check_one_frame(scan.source, scan.warnings)
    return scan


def check_one_frame(name: str, flags: Iterable[Flag]) -> None:
    """Raise an error if the flags of a sample's scan state that its file has several frames or pages."""
    if any(flag.code == MORE_FRAMES for flag in flags):
        raise ImageError(
            f"{name}: the file has several frames or pages, and which of them belongs to the label and the mask is unknown. Save "
            "each frame as a file of its own; the frames of a patient have one group."
        )


def read_sample(sample: Sample, *, resize_masks: bool = False) -> tuple[Pixels, Mask | None]:
    """Read the pixels of a sample's scan area and the merged mask in that area, which is None when the mask is unknown.

    A mask file covers the whole image. If the image has several areas, ``area_of`` chooses one.
    """
    scan = read_sample_scan(sample.image)
    mask = read_mask(sample.masks, scan.pixels.shape[:2], resize_masks) if sample.masks else None
    window = area_of(scan, mask).window
    return np.ascontiguousarray(scan.pixels[window]), None if mask is None else mask[window]


def area_of(scan: ScanImage, mask: Mask | None) -> Area:
    """Return the area that contains most of the mask, or the largest one if there is no mask or it is empty."""
    if mask is None or len(scan.areas) == 1:
        return scan.areas[0]
    return max(scan.areas, key=lambda area: int(mask[area.window].sum()))  # the first of equals, which is the largest area


EVERY_FRAME = "all"
FRAMES = "model.predict gives a prediction for each frame; for a data set, bcdseg.extract_frames writes its frames as images."
NO_SCAN = re.compile(r"_(mask(_\d+)?|overlay|heatmap)$", re.IGNORECASE)


def is_single(source: Any) -> bool:
    """Return whether a source is one image, and not a folder, pattern, collection of images, clip or DICOMDIR."""
    if isinstance(source, (VideoFrame, *DECODED)):
        return not (isinstance(source, np.ndarray) and source.dtype.kind in "OU")  # such as a column of paths
    if is_video(source):
        return False
    if is_dicom(source):
        return not holds_many(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            return path.is_file() or not (path.is_dir() or _is_pattern(os.fspath(source)))
        except (OSError, ValueError):  # no file can have this name: reading it reports the error
            return True
    if isinstance(source, (bytes, bytearray, memoryview)):
        return True
    return hasattr(source, "read") or hasattr(source, "detach") or isinstance(source, Mapping) or not isinstance(source, Iterable)


def expand(source: Any, frames: str | int = EVERY_FRAME) -> Iterator[ImageSource]:
    """Return the single images of a source in order, without reading any pixels.

    A folder has the images in it and below it, in natural order (2 before 10), without masks (``*_mask.png``), overlays
    (``*_overlay.png``), heat maps (``*_heatmap.png``) and hidden files. A pattern has the files that match, with the same
    exceptions. Both are listed immediately. A clip (DICOM, MP4, AVI, MOV) has its frames, and a DICOMDIR the images that it lists.

    Args:
        source: Any source that ``predict`` accepts.
        frames: ``"all"`` for all frames of clips, or n for every n-th frame.

    Raises:
        ImageNotFoundError: A folder or a pattern has no image.
    """
    every = each_frame(frames)
    if is_video(source) and not Path(source).is_dir():
        return iter(_frames(source, every))
    if is_dicom(source):
        return members(source, every)
    if is_single(source):
        return iter((source,))
    if isinstance(source, (str, os.PathLike)):
        return chain.from_iterable(_in_folder(path, every) for path in list_images(source))
    return chain.from_iterable(expand(item, frames) for item in source)


def _in_folder(path: Path, every: int) -> Iterable[ImageSource]:
    """Return the images of a file in a folder."""
    if is_video(path):
        return _frames(path, every)
    return members(path, every, in_folder=True) if is_dicom(path) else (path,)


def _frames(path: str | os.PathLike[str], every: int) -> Iterable[ImageSource]:
    """Return the frames of a clip, or the clip itself if it can't be opened: reading it reports the error, of this file alone."""
    try:
        return frames_of(path, every)
    except (ImageError, ImageNotFoundError):
        return (path,)


def each_frame(frames: str | int) -> int:
    """Return the step between the frames of a clip that are read: n for every n-th frame, 1 for all."""
    if frames == EVERY_FRAME:
        return 1
    if isinstance(frames, bool) or not isinstance(frames, Integral) or frames < 1:
        raise OptionError(f"frames={frames!r}: choose 'all', or n for each n-th frame: 1 or more.")
    return int(frames)


def list_images(source: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of a folder or pattern, and raise an error if there are none.

    A broken link or a pipe with the name of an image is one of them: reading it reports the error.
    """
    if not os.fspath(source):
        raise ImageNotFoundError("'' is an empty path, perhaps of a variable that is not set. Give a file, or '.' for this folder.")
    path = Path(source)
    if path.is_dir():
        found: Iterable[Path] = path.rglob("*")
    else:
        found = (Path(match) for match in glob.glob(os.fspath(source), recursive=True))  # noqa: PTH207 - also absolute patterns
    images = [file for file in found if _is_image(file, below=path)]
    if not images:
        kind = "folder" if path.is_dir() else "pattern"
        raise ImageNotFoundError(
            f"{os.fspath(source)}: the {kind} contains no image ({', '.join(SUFFIXES)}, DICOM); masks don't count."
        )
    return sorted(images, key=natural)


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?") or (glob.has_magic(text) and bool(glob.glob(text)))  # noqa: PTH207


def _is_image(file: Path, below: Path) -> bool:
    hidden = any(part.startswith(".") for part in (file.relative_to(below).parts if below in file.parents else (file.name,)))
    if hidden or NO_SCAN.search(file.stem) or file.is_dir():
        return False
    named = file.suffix.lower() in (*SUFFIXES, *DICOM_SUFFIXES, *VIDEO_SUFFIXES)
    return named or (is_dicom(file) and file.name.upper() != "DICOMDIR")


def without_results(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide paths into scans, and masks and overlays of these scans, which a shell lists for ``scans/*.png``."""
    stems = {(path.parent, path.stem) for path in map(Path, paths)}

    def is_result(path: Path) -> bool:
        match = NO_SCAN.search(path.stem)
        return match is not None and (path.parent, path.stem[: match.start()]) in stems

    results = [path for path in paths if is_result(Path(path))]
    return [path for path in paths if not is_result(Path(path))], results


def natural(path: Path) -> list[tuple[int, str]]:
    """Return the sort key of natural order: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.as_posix())]


Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4  # results that may wait per thread, which bounds the memory


def mapped(work: Callable[[Item], Result], items: Iterable[Item], done: Callable[[int], None]) -> Iterator[Result]:
    """Yield results in the order of the items, computed in threads; ``done`` is called with the number of results so far."""
    threads = max(1, min(8, os.cpu_count() or 1))
    waiting: deque[Future[Result]] = deque()
    finished = 0
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads * AHEAD:
                yield waiting.popleft().result()
                finished += 1
                done(finished)
        while waiting:
            yield waiting.popleft().result()
            finished += 1
            done(finished)
