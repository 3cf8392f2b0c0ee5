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

from bcdseg.data.images import SUFFIXES, ImageSource
from bcdseg.errors import ImageNotFoundError

NO_SCAN = re.compile(r"_(mask(_\d+)?|overlay|heatmap)$", re.IGNORECASE)


def is_single(source: Any) -> bool:
    """Whether a source is one image, and not a folder, a pattern or a collection of images."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            return path.is_file() or not (path.is_dir() or _is_pattern(os.fspath(source)))
        except (OSError, ValueError):  # a name that no file can have: reading it says so
            return True
    if isinstance(source, (bytes, bytearray, memoryview, Image.Image, np.ndarray)):
        return True
    return hasattr(source, "read") or hasattr(source, "detach") or isinstance(source, Mapping) or not isinstance(source, Iterable)


def expand(source: Any) -> Iterator[ImageSource]:
    """The single images of a source, in order; nothing is read.

    A folder gives the images in it and below it, in natural order (2 before 10), without masks (``*_mask.png``),
    overlays (``*_overlay.png``), heat maps (``*_heatmap.png``) and hidden files. A pattern gives what matches, with these
    left out likewise.
    """
    if is_single(source):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        yield from list_images(source)
    else:
        for item in source:
            yield from expand(item)


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
        raise ImageNotFoundError(f"{os.fspath(source)}: the {kind} holds no image ({', '.join(SUFFIXES)}); masks don't count.")
    return sorted(images, key=_natural)


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?") or (glob.has_magic(text) and bool(glob.glob(text)))  # noqa: PTH207


def _is_image(file: Path, below: Path) -> bool:
    hidden = any(part.startswith(".") for part in (file.relative_to(below).parts if below in file.parents else (file.name,)))
    return file.suffix.lower() in SUFFIXES and not hidden and not NO_SCAN.search(file.stem) and file.is_file()


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", path.as_posix())]
