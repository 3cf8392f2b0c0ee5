"""Anything that a user has, turned into a scan: an image with its areas, and with their millimetres where a file tells them."""

from __future__ import annotations

import numpy as np

from bcdseg.data.dicom.scan import DicomFrame, read_frame
from bcdseg.data.dicom.sniff import is_dicom
from bcdseg.data.images import ImageSource, read_image, source_name
from bcdseg.data.masks import read_mask
from bcdseg.types import Area, Mask, Pixels, Sample, ScanImage


def read_scan(source: ImageSource | ScanImage, *, keep_identifiers: bool = False) -> ScanImage:
    """Read one scan. Pictures and arrays are one area without millimetres; DICOM has both. A ``ScanImage`` was read already."""
    if isinstance(source, ScanImage):
        return source
    name = source_name(source)
    if isinstance(source, DicomFrame) or is_dicom(source):
        return read_frame(source, name, keep_identifiers=keep_identifiers)
    pixels = read_image(source, name)
    return ScanImage(source=name, pixels=pixels, areas=(Area(box=(0, 0, *pixels.shape[:2])),))


def read_sample(sample: Sample, *, resize_masks: bool = False) -> tuple[Pixels, Mask | None]:
    """What there is to learn from a sample: the pixels of its scan area, and its merged mask there, None when unknown.

    A mask file is of the whole image. Of several areas it is the one that ``area_of`` chooses.
    """
    scan = read_scan(sample.image)
    mask = read_mask(sample.masks, scan.pixels.shape[:2], resize_masks) if sample.masks else None
    window = area_of(scan, mask).window
    return np.ascontiguousarray(scan.pixels[window]), None if mask is None else mask[window]


def area_of(scan: ScanImage, mask: Mask | None) -> Area:
    """The area that holds most of the mask; the largest where there is no mask, or an empty one."""
    if mask is None or len(scan.areas) == 1:
        return scan.areas[0]
    return max(scan.areas, key=lambda area: int(mask[area.window].sum()))  # the first of equals, which is the largest
