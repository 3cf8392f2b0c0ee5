"""An uploaded file as the scans in it, held in memory."""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from bcdseg.app.limits import Limits
from bcdseg.data.dicom.opening import open_dicom
from bcdseg.data.dicom.scan import DicomFrame
from bcdseg.data.dicom.sniff import SUFFIXES, is_dicom
from bcdseg.data.images import FORMATS
from bcdseg.errors import BcdsegError, LimitError


class NamedBytes(io.BytesIO):
    """The bytes of a file that still know its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """One scan that a page holds.

    Attributes:
        name: What to call it: the file's name, of a frame with its number.
        content: The bytes of its file, which the frames of a clip share.
        frame: The frame of a clip; None for a file that is one scan.
        id: A name for addresses that nobody can guess.
    """

    name: str
    content: bytes = field(repr=False)
    frame: DicomFrame | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def source(self) -> Any:
        """What a model takes."""
        return self.frame or NamedBytes(self.content, self.name)

    @property
    def is_dicom(self) -> bool:
        """Whether DICOM output can refer to it."""
        return is_dicom(self.content)


def scans_in(content: bytes, name: str, limits: Limits) -> list[Scan]:
    """The scans of a file: one, or the frames of a DICOM clip. No pixel is read; what is damaged says so when it is predicted.

    Raises:
        LimitError: It declares more pixels than are taken here.
    """
    if not (is_dicom(content) or name.lower().endswith(SUFFIXES)):
        _check_pixels(_declared_size(content), name, limits)
        return [Scan(name=name, content=content)]
    try:
        image = open_dicom(content, name)
    except BcdsegError:
        return [Scan(name=name, content=content)]
    _check_pixels(image.size, name, limits)
    count = len(image.frames)
    if count == 1 and is_dicom(content):
        return [Scan(name=name, content=content)]
    every = -(-count // limits.frames)
    frames = [DicomFrame(image, number) for number in range(1, count + 1, every)]
    return [Scan(name=frame.name, content=content, frame=frame) for frame in frames]


def _declared_size(content: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.height, image.width
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 1 << 16, 1 << 16
    except Exception:  # reading it says what is wrong
        return 0, 0


def _check_pixels(size: tuple[int, int], name: str, limits: Limits) -> None:
    if size[0] * size[1] > limits.pixels:
        raise LimitError(
            f"{name}: has more than {limits.pixels / 1e6:g} million pixels, the most that the page takes. "
            "Make it smaller, or use bcdseg predict."
        )
