"""Anything that a user has, turned into a scan: an image with its areas, and with their millimetres where a file tells them."""

from __future__ import annotations

from bcdseg.data.dicom.scan import DicomFrame, read_frame
from bcdseg.data.dicom.sniff import is_dicom
from bcdseg.data.images import ImageSource, read_image, source_name
from bcdseg.types import Area, ScanImage


def read_scan(source: ImageSource, *, keep_identifiers: bool = False) -> ScanImage:
    """Read one scan. Pictures and arrays are one area without millimetres; DICOM tells of both."""
    name = source_name(source)
    if isinstance(source, DicomFrame) or is_dicom(source):
        return read_frame(source, name, keep_identifiers=keep_identifiers)
    pixels = read_image(source, name)
    return ScanImage(source=name, pixels=pixels, areas=(Area(box=(0, 0, *pixels.shape[:2])),))
