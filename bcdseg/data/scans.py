"""Anything that a user has, turned into a scan: an image with its areas, and with their millimetres where a file tells them."""

from __future__ import annotations

from bcdseg.data.dicom.sniff import is_dicom
from bcdseg.data.images import ImageSource, read_image, source_name
from bcdseg.types import Area, ScanImage


def read_scan(source: ImageSource, *, keep_identifiers: bool = False) -> ScanImage:
    """Read one scan. Pictures and arrays are one area without millimetres; DICOM tells of both."""
    name = source_name(source)
    if is_frame(source) or is_dicom(source):
        from bcdseg.data.dicom.scan import read_frame

        return read_frame(source, name, keep_identifiers=keep_identifiers)
    pixels = read_image(source, name)
    return ScanImage(source=name, pixels=pixels, areas=(Area(box=(0, 0, *pixels.shape[:2])),))


def is_frame(source: ImageSource) -> bool:
    """Whether a source is one frame of an opened clip; told without importing pydicom's room."""
    return type(source).__name__ == "DicomFrame"
