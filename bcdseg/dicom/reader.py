"""DICOM headers: the properties of the pixels, before any pixel is read."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from bcdseg.dicom.frame_index import Piece, find_frames, read_piece
from bcdseg.dicom.guard import guarded, pydicom
from bcdseg.dicom.header_limits import AT_PIXELS, convert_header, plain, read_header
from bcdseg.errors import ImageError, NotAScanError
from bcdseg.sources import check_size, is_dataset, open_regular

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
REPLACED = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
}
"""Elements of each functional group, which replace those outside of the groups."""


def kept_of_each_frame() -> dict[int, frozenset[int]]:
    """Return the elements that are kept of each frame's functional groups, by the tag of their sequence."""
    tag_for = pydicom("pydicom.datadict").tag_for_keyword
    return {tag_for(PER_FRAME): frozenset(map(tag_for, REPLACED))}


def of_each_frame(header: Any) -> None:
    """Keep only the display elements of the frames' functional groups: the rest includes dates and numbers."""
    groups = header.get(PER_FRAME)
    if groups:
        make = pydicom("pydicom.dataset").Dataset
        kept = [make({group[name].tag: group[name] for name in REPLACED if name in group}) for group in groups]
        header.add_new(PER_FRAME, "SQ", kept)  # a new element, since the old one may belong to a data set of the caller


def shown_as(header: Any, index: int) -> Any:
    """Return the header with the display elements from the functional groups of one frame, counted from 0."""
    shared, own = header.get(SHARED) or (), header.get(PER_FRAME) or ()
    shown = header
    for group in (*shared[:1], *own[index : index + 1]):
        for sequence, keywords in REPLACED.items():
            for item in (group.get(sequence) or ())[:1]:
                kept = {element.tag: element for element in shown if element.keyword not in keywords}
                declared = {item[keyword].tag: item[keyword] for keyword in keywords if keyword in item}
                shown = pydicom("pydicom.dataset").Dataset({**kept, **declared})
    return shown


PIXEL_DATA = 0x7FE00010
NO_SCANS = ("SEG", "RTDOSE")  # their pixel data are not scans
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")

# All elements that prediction reads from a file: none of them is a name, number or date of a patient.
NEEDED = (
    *("SOPClassUID", "Modality", "BurnedInAnnotation", "SequenceOfUltrasoundRegions"),
    *(
        "PixelSpacing",
        "ImagerPixelSpacing",
        "SharedFunctionalGroupsSequence",
        PER_FRAME,
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
    ),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *(f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomImage:
    """An opened DICOM image or clip.

    Attributes:
        name: Name of the image: its path, or its kind if it has none.
        header: Elements of ``NEEDED`` that the file has, as a pydicom ``Dataset``.
        size: Height and width of a frame.
        frames: Byte ranges of each frame.
        compressed: Whether frames are compressed.
        open: Function that opens the file with the pixels again on each call, so that threads don't interfere.
        path: The file, or None for bytes and data sets.
    """

    name: str
    header: Any = field(repr=False)
    size: tuple[int, int]
    frames: tuple[tuple[Piece, ...], ...] = field(repr=False)
    compressed: bool
    open: Callable[[], BinaryIO] = field(repr=False)
    path: Path | None = None

    def raw(self, index: int) -> bytes:
        """Return the stored bytes of one frame."""
        with self.open() as file:
            return b"".join(read_piece(file, piece) for piece in self.frames[index])


def open_dicom(source: Any, name: str) -> DicomImage:
    """Open a path, the bytes of a file, an open file or a pydicom ``Dataset``.

    Raises:
        ImageError: The source is damaged, or contains no image that can be read; the message states which and what to do.
    """
    pydicom()
    with guarded(name):
        if is_dataset(source):
            return _open_dataset(source, name)
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            return _open_file(partial(open_regular, path, name), name, path)
        if hasattr(source, "read"):
            place = source.tell()
            source, file = source.read(), source
            file.seek(place)
        return _open_file(partial(io.BytesIO, bytes(source)), name, None)


def transfer_syntax(header: Any) -> Any:
    """Return the transfer syntax that a header names, or the one that its encoding implies."""
    uids = pydicom("pydicom.uid")
    named = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    if named:
        return named
    implicit, little = header.original_encoding
    if implicit is None:
        return None
    return uids.ImplicitVRLittleEndian if implicit else uids.ExplicitVRLittleEndian if little else uids.ExplicitVRBigEndian


def _open_file(opener: Callable[[], BinaryIO], name: str, path: Path | None) -> DicomImage:
    found: list[tuple[str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag == PIXEL_DATA:
            found.append((vr, length))
        return tag >= AT_PIXELS

    with opener() as stored, plain(stored, name) as file:
        if file.inflated is not None:
            opener = partial(io.BytesIO, file.inflated)
        header = read_header(file, NEEDED, at_pixels)
        if not found:
            raise _not_a_scan(header, name)
        convert_header(header, file.budget, only=kept_of_each_frame())
        vr, length = found[0]
        implicit = bool(header.original_encoding[0])
        start = file.tell() + (12 if not implicit and vr in pydicom("pydicom.valuerep").EXPLICIT_VR_LENGTH_32 else 8)
        return _checked(header, name, opener, Piece(start, length), path)


def _open_dataset(dataset: Any, name: str) -> DicomImage:
    header = pydicom("pydicom.dataset").Dataset({tag: dataset[tag] for tag in _tags() if tag in dataset})
    header.file_meta = getattr(dataset, "file_meta", None) or pydicom("pydicom.dataset").FileMetaDataset()
    header.set_original_encoding(*dataset.original_encoding)
    content = dataset.get("PixelData")
    if not content:
        raise _not_a_scan(header, name)
    return _checked(header, name, partial(io.BytesIO, content), Piece(0, len(content)), None)


def _checked(header: Any, name: str, opener: Callable[[], BinaryIO], pixels: Piece, path: Path | None) -> DicomImage:
    """Create an image after everything that its header declares is checked, before any memory is allocated."""
    of_each_frame(header)
    list(header.iterall())  # pydicom converts elements on first access: here, before threads access them
    syntax = transfer_syntax(header)
    size = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if not all(size) or header.get("Modality") in NO_SCANS:
        raise _not_a_scan(header, name)
    check_size(*size, name)
    _check_kind(header, name)
    _check_syntax(syntax, name)
    compressed = bool(syntax.is_compressed)
    _check_planes(header, compressed, name)
    count = max(1, int(header.get("NumberOfFrames") or 1))
    full = int(header.get("SamplesPerPixel", 1)) * size[0] * size[1] * (int(header.BitsAllocated) // 8)
    halved = header.PhotometricInterpretation == "YBR_FULL_422"
    if halved and not compressed and pixels.length == count * full + (count * full) % 2:
        header.add_new("PhotometricInterpretation", "CS", "YBR_FULL")  # some writers upsample the colour and keep the name
        halved = False
    if halved and not compressed and header.PlanarConfiguration:
        raise ImageError(f"{name}: declares YBR_FULL_422 in separate planes, which can't be. Export it as RGB.")
    length = None if compressed else full // 3 * 2 if halved else full
    frames = find_frames(opener, pixels, name=name, count=count, frame_length=length)
    return DicomImage(name=name, header=header, size=size, frames=frames, compressed=compressed, open=opener, path=path)


def _check_kind(header: Any, name: str) -> None:
    bits, samples, kind = header.get("BitsAllocated"), header.get("SamplesPerPixel", 1), header.get("PhotometricInterpretation")
    if bits not in (8, 16) or not 1 <= int(header.get("BitsStored") or bits) <= bits:
        raise ImageError(
            f"{name}: its pixels have {bits!s:.8} bits; 8 and 16 are read. Export the scan as an image of 8 or 16 bits."
        )
    if kind not in PHOTOMETRIC:
        raise ImageError(
            f"{name}: its photometric interpretation isn't supported. Supported are {', '.join(PHOTOMETRIC)}: export it so."
        )
    gray = kind in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if samples != (1 if gray else 3):
        raise ImageError(f"{name}: declares {kind} with {samples!s:.8} numbers a pixel, which can't be. Export it again.")


def _check_planes(header: Any, compressed: bool, name: str) -> None:
    """Check the arrangement of the colours, which matters for uncompressed pixels only."""
    if header.get("SamplesPerPixel", 1) == 1 or header.get("PlanarConfiguration") in (0, 1):
        return
    if not compressed:
        raise ImageError(f"{name}: does not state how its colours are arranged (PlanarConfiguration, 0 or 1). Export it again.")
    header.add_new("PlanarConfiguration", "US", 0)


def _check_syntax(syntax: Any, name: str) -> None:
    if syntax is None:
        raise ImageError(
            f"{name}: names no transfer syntax, so its pixels can't be decoded. Save it with its file meta information."
        )
    try:
        decoder = pydicom("pydicom.pixels").get_decoder(syntax)
    except NotImplementedError:
        if syntax in pydicom("pydicom.uid").MPEGTransferSyntaxes:
            raise ImageError(
                f"{name}: is a video ({syntax.name}), which isn't read. Export the clip with JPEG frames; or take the video out "
                "(gdcmraw -i IN -o VIDEO) and its frames out of that (ffmpeg -i VIDEO %05d.png): these have no millimetres."
            ) from None
        shown = syntax if re.fullmatch(r"[0-9.]{1,64}", syntax) else "a malformed one"
        raise ImageError(
            f"{name}: its pixels are stored in the transfer syntax {shown}, a private or unknown one, which isn't read. "
            "Export it uncompressed, or as JPEG, JPEG-LS, JPEG 2000 or RLE."
        ) from None
    if not decoder.is_available:
        pydicom("pylibjpeg")
        raise ImageError(f"{name}: no decoder for {syntax.name} is installed. Run: pip install 'bcdseg[dicom]'")


def _not_a_scan(header: Any, name: str) -> ImageError:
    kind = header.get("SOPClassUID")
    if kind is None and not header.get("Rows"):
        return ImageError(f"{name}: is not a DICOM file, or is one cut off in its header. Copy or export it again.")
    registered = kind is not None and kind.name != kind
    return NotAScanError(f"{name}: is DICOM without an image{f' ({kind.name})' if registered else ''}. Give the image itself.")


def _tags() -> list[int]:
    tag_for = pydicom("pydicom.datadict").tag_for_keyword
    return [tag_for(keyword) for keyword in NEEDED]
