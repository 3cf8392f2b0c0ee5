"""One frame of a DICOM image as a scan to predict: its pixels, its areas, and what to doubt about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bcdseg.data.dicom.guard import guarded
from bcdseg.data.dicom.opening import DicomImage, open_dicom
from bcdseg.data.dicom.pixels import read_pixels
from bcdseg.data.dicom.regions import find_areas
from bcdseg.errors import ImageError
from bcdseg.types import Area, Doubt, Pixels, ScanImage


@dataclass(frozen=True)
class DicomFrame:
    """One frame of an opened clip, counted from 1."""

    image: DicomImage
    number: int

    @property
    def name(self) -> str:
        """The clip's name and the frame's number: ``clip.dcm#12``."""
        return f"{self.image.name}#{self.number}"


def read_frame(source: Any, name: str, *, keep_identifiers: bool) -> ScanImage:
    """Read a ``DicomFrame``, or what ``open_dicom`` opens when it holds one frame.

    Args:
        source: See ``open_dicom``.
        name: What to call it.
        keep_identifiers: Whether to leave the pixels outside of the scan areas: machines write names and dates there.
    """
    frame = source if isinstance(source, DicomFrame) else DicomFrame(open_dicom(source, name), 1)
    if not isinstance(source, DicomFrame) and len(frame.image.frames) > 1:
        count = len(frame.image.frames)
        raise ImageError(
            f"{name}: is a clip of {count} frames, not one image. model.predict gives a prediction for each frame; "
            "in a data set each frame is a file of its own."
        )
    pixels = read_pixels(frame.image, frame.number - 1)
    with guarded(name):
        areas, doubts = find_areas(frame.image.header, frame.image.size)
        doubts += _doubts(frame.image.header)
    return ScanImage(
        source=name,
        pixels=pixels if keep_identifiers else _only(pixels, areas),
        areas=areas,
        frame=frame.number if len(frame.image.frames) > 1 else None,
        doubts=doubts,
    )


def _only(pixels: Pixels, areas: tuple[Area, ...]) -> Pixels:
    """The areas on black."""
    if areas[0].pixels == pixels.shape[0] * pixels.shape[1]:
        return pixels
    kept = np.zeros_like(pixels)
    for area in areas:
        kept[area.window] = pixels[area.window]
    return kept


def _doubts(header: Any) -> tuple[Doubt, ...]:
    doubts = []
    if header.get("BurnedInAnnotation") == "YES":
        doubts.append(
            Doubt(
                "burned-in",
                "The file declares annotations burned into its pixels: they may name the patient. Look before you share.",
            )
        )
    modality = header.get("Modality")
    if modality and modality != "US":
        known = modality if isinstance(modality, str) and modality.isalpha() and len(modality) <= 4 else "another one"
        doubts.append(Doubt("not-ultrasound", f"The file says that its modality is {known}, not US (ultrasound)."))
    return tuple(doubts)
