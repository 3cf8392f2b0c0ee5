"""What a user may hand to ``predict`` beyond one image: a folder, a pattern, a list, a generator."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.data.dicom.members import holds_many, members
from bcdseg.data.dicom.sniff import SUFFIXES as DICOM_SUFFIXES
from bcdseg.data.dicom.sniff import is_dicom
from bcdseg.data.images import SUFFIXES, ImageSource
from bcdseg.errors import ImageNotFoundError, OptionError

EVERY_FRAME = "all"
NO_SCAN = re.compile(r"_(mask(_\d+)?|overlay|heatmap)$", re.IGNORECASE)


def is_single(source: Any) -> bool:
    """Whether a source is one image, and not a folder, a pattern, a collection of images, a DICOM clip or a DICOMDIR."""
    if is_dicom(source):
        return not holds_many(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            return path.is_file() or not (path.is_dir() or _is_pattern(os.fspath(source)))
        except (OSError, ValueError):  # a name that no file can have: reading it says so
            return True
    if isinstance(source, (bytes, bytearray, memoryview, Image.Image, np.ndarray)):
        return True
    return hasattr(source, "read") or hasattr(source, "detach") or isinstance(source, Mapping) or not isinstance(source, Iterable)


def expand(source: Any, frames: str | int = EVERY_FRAME) -> Iterator[ImageSource]:
    """The single images of a source, in order; no pixel is read.

    A folder gives the images in it and below it, in natural order (2 before 10), without masks (``*_mask.png``),
    overlays (``*_overlay.png``), heat maps (``*_heatmap.png``) and hidden files. A pattern gives what matches, with these
    left out likewise.
    A DICOM clip gives its frames, a DICOMDIR the images that it lists.

    Args:
        source: Whatever ``predict`` takes.
        frames: Of clips, ``"all"`` or each n-th frame.
    """
    every = each_frame(frames)
    if is_dicom(source):
        yield from members(source, every)
    elif is_single(source):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        for path in list_images(source):
            yield from members(path, every, in_folder=True) if is_dicom(path) else (path,)
    else:
        for item in source:
            yield from expand(item, frames)


def each_frame(frames: str | int) -> int:
    """Which frames of a clip are taken: each n-th, 1 for all."""
    if frames == EVERY_FRAME:
        return 1
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise OptionError(f"frames={frames!r}: choose 'all', or n for each n-th frame: 1 or more.")
    return frames


def list_images(source: str | os.PathLike[str]) -> list[Path]:
    """The image files of a folder or pattern. An error says so when there is none."""
    path = Path(source)
    if path.is_dir():
        found: Iterable[Path] = path.rglob("*")
    else:
        found = (Path(match) for match in glob.glob(os.fspath(source), recursive=True))  # noqa: PTH207 - also absolute patterns
    images = [file for file in found if _is_image(file, below=path)]
    if not images:
        kind = "folder" if path.is_dir() else "pattern"
        raise ImageNotFoundError(
            f"{os.fspath(source)}: the {kind} holds no image ({', '.join(SUFFIXES)}, DICOM); masks don't count."
        )
    return sorted(images, key=natural)


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?") or (glob.has_magic(text) and bool(glob.glob(text)))  # noqa: PTH207


def _is_image(file: Path, below: Path) -> bool:
    hidden = any(part.startswith(".") for part in (file.relative_to(below).parts if below in file.parents else (file.name,)))
    if hidden or NO_SCAN.search(file.stem) or not file.is_file():
        return False
    named = file.suffix.lower() in (*SUFFIXES, *DICOM_SUFFIXES)
    return named or (is_dicom(file) and file.name.upper() != "DICOMDIR")


def natural(path: Path) -> list[tuple[int, str]]:
    """Sorts names as a person does: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.as_posix())]
