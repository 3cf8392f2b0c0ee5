"""Pixels of one DICOM frame, as gray or RGB.

- Gray goes through the modality and the VOI transformation of the file (a table before a window, the first of several), which
  enhanced files define per frame or for all frames, and MONOCHROME1 is inverted. Without a VOI transformation, values of up to 8
  bits are used as they are, and others are scaled from the frame's own minimum and maximum. Padding is black.
- Colour is converted to RGB.
- The result has 8 bits if up to 8 are stored, else it is float32 from 0 to 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.dicom.frame_index import declared_size, without_boxes
from bcdseg.dicom.guard import guarded, pydicom
from bcdseg.dicom.reader import DicomImage, shown_as, transfer_syntax
from bcdseg.errors import ImageError
from bcdseg.types import Pixels

Table = NDArray[np.float32]


def read_pixels(image: DicomImage, index: int) -> Pixels:
    """Decode one frame, counted from 0."""
    with guarded(image.name):
        stored = _stored(image, index)
        kind = image.header.PhotometricInterpretation
        if kind == "PALETTE COLOR":
            return _through_palette(stored, image)
        if stored.ndim == 3:
            return _colour(stored, image.header)
        return _gray(stored, shown_as(image.header, index))


def _stored(image: DicomImage, index: int) -> NDArray[Any]:
    """Return the stored values of a frame; colour is already RGB."""
    raw = without_boxes(image.raw(index)) if image.compressed else image.raw(index)
    # A separate data set: one made from another shares its elements, and threads read frames of one clip at the same time.
    alone = {element.tag: element for element in image.header if element.keyword != "NumberOfFrames"}
    dataset = pydicom("pydicom.dataset").Dataset(alone)
    dataset.file_meta = pydicom("pydicom.dataset").FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax = transfer_syntax(image.header)
    dataset.set_original_encoding(*image.header.original_encoding)
    if image.compressed:
        _check_frame(raw, image, syntax)
        raw = pydicom("pydicom.encaps").encapsulate([raw])
    dataset.PixelData = raw
    stored: NDArray[Any] = pydicom("pydicom.pixels").pixel_array(dataset, index=0)
    if stored.shape[:2] != image.size:
        raise ImageError(f"{image.name}: a frame decodes to another size than the file declares. Export it again.")
    return stored


def _check_frame(raw: bytes, image: DicomImage, syntax: Any) -> None:
    if syntax == pydicom("pydicom.uid").RLELossless:
        return
    declared = declared_size(raw)
    if declared is None:
        raise ImageError(f"{image.name}: a compressed frame is damaged, or not in the format of the header. Export it again.")
    if (declared.height, declared.width) != image.size or declared.samples > 4:
        raise ImageError(
            f"{image.name}: a compressed frame has {declared.height}x{declared.width} pixels, "
            f"its header {image.size[0]}x{image.size[1]}. Export it again."
        )


def _through_palette(stored: NDArray[Any], image: DicomImage) -> Pixels:
    if "RedPaletteColorLookupTableData" not in image.header:
        raise ImageError(f"{image.name}: its palette is missing or in segments, which isn't read. Export it as RGB.")
    coloured: NDArray[Any] = pydicom("pydicom.pixels").apply_color_lut(stored, image.header)[..., :3]
    if coloured.dtype == np.uint8:
        return coloured
    # Some writers store 8 bits in entries of 16. The whole palette decides it: a dark frame has only entries below 256.
    entries, first = image.header.RedPaletteColorLookupTableDescriptor[:2]
    palette = pydicom("pydicom.pixels").apply_color_lut(np.arange(first, first + (entries or 2**16)), image.header)[..., :3]
    return (coloured >> 8).astype(np.uint8) if palette.max() > 255 else coloured.astype(np.uint8)


def _colour(stored: NDArray[Any], header: Any) -> Pixels:
    if stored.dtype == np.uint8:
        return np.ascontiguousarray(stored)
    scaled: Pixels = stored.astype(np.float32) / np.float32(2 ** int(header.BitsStored) - 1)
    return np.clip(scaled, 0, 1)


def _gray(stored: NDArray[Any], header: Any) -> Pixels:
    """Map gray values by a table of all possible ones: the same arithmetic on a mammogram's pixels would take gigabytes."""
    low, high = int(stored.min()), int(stored.max())
    values = np.arange(low, high + 1, dtype=np.int64)
    places = stored.astype(np.int32) - low if low else stored
    padding = _padding(values, header)
    seen = np.zeros(values.shape, bool)
    seen[places] = True
    shown = _shown(values, seen & ~padding if (seen & ~padding).any() else seen, header)
    if header.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    shown[padding] = 0
    table: Pixels = (shown * 255 + 0.5).astype(np.uint8) if int(header.get("BitsStored", 8)) <= 8 else shown
    return np.asarray(table[places])


def _padding(values: NDArray[np.int64], header: Any) -> NDArray[np.bool_]:
    if header.get("PixelPaddingValue") is None:
        return np.zeros(values.shape, bool)
    one = int(header.PixelPaddingValue)
    other = int(header.get("PixelPaddingRangeLimit", one))
    return (values >= min(one, other)) & (values <= max(one, other))


def _shown(values: NDArray[np.int64], seen: NDArray[np.bool_], header: Any) -> Table:
    """Convert channels, resize and pad: H x W, or H x W x 3 if both the scan and the network have colour; the dtype is kept."""
    measured = pydicom("pydicom.pixels").apply_modality_lut(values, header)
    if not np.isfinite(measured).all():
        raise ValueError("an impossible rescale slope")
    if header.get("VOILUTSequence"):
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        looked_up = pydicom("pydicom.pixels").apply_voi(np.rint(measured).astype(np.int64), header)
        return _bounded(looked_up / (2.0**bits - 1))
    if header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        return _windowed(measured, header)
    ends = _ends(values, measured, seen, header)
    return _bounded((measured - ends[0]) / max(ends[1] - ends[0], 1e-9))


def _windowed(measured: NDArray[Any], header: Any) -> Table:
    center, width = _first(header.WindowCenter), _first(header.WindowWidth)
    if not (np.isfinite([center, width]).all() and width > 0):
        raise ValueError("an impossible window")
    function = header.get("VOILUTFunction") or "LINEAR"
    if function == "LINEAR":  # as the standard defines it: 256 values around 128 map one to one
        center, width = center - 0.5, width - 1
    if function == "SIGMOID":
        return _bounded(1 / (1 + np.exp(np.clip(-4 * (measured - center) / width, -50, 50))))
    if width <= 0:
        return _bounded(measured > center)
    return _bounded((measured - center) / width + 0.5)


def _ends(values: NDArray[np.int64], measured: NDArray[Any], seen: NDArray[np.bool_], header: Any) -> tuple[float, float]:
    """Return the values that become black and white if the file defines none."""
    bits = int(header.get("BitsStored", 8))
    if bits <= 8 and np.array_equal(measured, values):
        low = -(2 ** (bits - 1)) if header.get("PixelRepresentation") else 0
        return low, low + 2**bits - 1
    return float(measured[seen].min()), float(measured[seen].max())


def _bounded(values: NDArray[Any]) -> Table:
    return np.clip(values.astype(np.float32), np.float32(0), np.float32(1))


def _first(value: Any) -> float:
    return float(value if isinstance(value, (int, float)) or not hasattr(value, "__getitem__") else value[0])
