"""Damaged and hostile DICOM: one clear error each, that names the file and quotes nothing of it, in bounded memory and time."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_scan
from made_dicom import IDENTIFIERS, content, dicom, panicking_rle, region, save
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from bcdseg import errors
from bcdseg.data.readers import expand, is_single, read_scan

GRAY = draw_scan(3, (48, 64))
COLOUR = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=-1)


def _declares(made: FileDataset, **elements: object) -> bytes:
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return content(made)


def _compressed(syntax: object, pixels: np.ndarray = GRAY, *, clip: bool = False) -> FileDataset:
    made = dicom(pixels, region((4, 4, 44, 60)), clip=clip)
    if syntax == JPEGBaseline8Bit:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        made.PixelData, made.file_meta.TransferSyntaxUID = encapsulate([buffer.getvalue()]), JPEGBaseline8Bit
        made["PixelData"].is_undefined_length = True
    else:
        made.compress(syntax, encoding_plugin="", generate_instance_uid=False)
    return made


def _lying_codestream(syntax: object, at: Callable[[bytes], int], size: bytes) -> bytes:
    """Return a compressed frame that declares 60000 x 60000."""
    made = _compressed(syntax)
    frame = bytearray(next(generate_frames(made.PixelData, number_of_frames=1)))
    frame[at(bytes(frame)) : at(bytes(frame)) + len(size)] = size
    made.PixelData = encapsulate([bytes(frame)])
    return content(made)


def _deep(levels: int) -> bytes:
    """Return sequences nested thousands deep."""
    start = content(dicom(GRAY))
    place = start.index(struct.pack("<HH", 0x0010, 0x0010) + b"PN")
    nested = (
        struct.pack("<HH", 0x0008, 0x1140) + b"SQ\0\0\xff\xff\xff\xff" + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ) * levels
    return start[:place] + nested + start[place:]


def _deflated(made: FileDataset) -> bytes:
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return content(made)


def _bomb() -> bytes:
    """Return a gigabyte of zeros in a megabyte: one block, repeated."""
    start = _deflated(dicom(GRAY))
    deflater = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    first = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    again = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return start[: 144 + int.from_bytes(start[140:144], "little")] + first + again * 1023


def _element(tag: tuple[int, int], kind: bytes, value: bytes) -> bytes:
    long = kind in (b"SQ", b"OB", b"UT")
    length = struct.pack("<2xL" if long else "<H", len(value))
    return struct.pack("<HH", *tag) + kind + length + value


def _item(value: bytes = b"") -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(value)) + value


def _inserted(element: bytes, before: tuple[int, int]) -> bytes:
    start = content(dicom(GRAY))
    place = start.index(struct.pack("<HH", *before))
    return start[:place] + element + start[place:]


def _undefined_sequence() -> bytes:
    """Return a million empty items in an unused sequence."""
    return _inserted(struct.pack("<HH", 0x0008, 0x1140) + b"SQ\0\0\xff\xff\xff\xff" + _item() * 1_000_000, (0x0010, 0x0010))


def _deflated_zeros() -> bytes:
    """Return a million empty elements in eight kilobytes."""
    start = _deflated(dicom(GRAY))
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return start[: 144 + int.from_bytes(start[140:144], "little")] + deflater.compress(bytes(8_000_000)) + deflater.flush()


def _pixel_length(value: int) -> bytes:
    made = content(dicom(GRAY))
    place = made.index(struct.pack("<HH", 0x7FE0, 0x0010)) + 8
    return made[:place] + struct.pack("<L", value) + made[place + 4 :]


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: content(dicom(GRAY))[:-700], "declares 1 frame of 3072 bytes and contains 2372"),
    "truncated in the header": (lambda: content(dicom(GRAY))[:400], "not a DICOM file, or is one cut off|without an image"),
    "truncated after the mark": (lambda: content(dicom(GRAY))[:132], "not a DICOM file|truncated"),
    "truncated JPEG 2000": (lambda: content(_compressed(JPEG2000Lossless))[:-900], "cut off|contains 0"),
    "truncated RLE": (lambda: content(_compressed(RLELossless))[:-900], "cut off|contains 0"),
    "a length too small": (lambda: _pixel_length(16), "contains 16 bytes"),
    "a length undefined": (lambda: _pixel_length(0xFFFFFFFE)[:-9], "cut off"),
    "100,000 frames": (lambda: _declares(dicom(GRAY), NumberOfFrames=100_000), "declares 100000 frames"),
    "100,000 compressed frames": (lambda: _declares(_compressed(RLELossless), NumberOfFrames=100_000), "frames and contains 1"),
    "60000 x 60000": (lambda: _declares(dicom(GRAY), Rows=60000, Columns=60000), "60000x60000"),
    "10000 x 10000 of nothing": (lambda: _declares(dicom(GRAY), Rows=10000, Columns=10000), "cut off"),
    "10000 x 10000 of RLE": (lambda: _declares(_compressed(RLELossless), Rows=10000, Columns=10000), "damaged|another size"),
    "no pixel data": (lambda: content(_without(dicom(GRAY), "PixelData")), r"without an image \(Ultrasound Image Storage\)"),
    "no size": (lambda: content(_without(dicom(GRAY), "Rows")), "without an image"),
    "empty pixel data": (lambda: _declares(dicom(GRAY), PixelData=b""), "contains 0 bytes"),
    "a private syntax": (lambda: _with_syntax("1.2.840.113619.5.2"), "1.2.840.113619.5.2, a private or unknown one"),
    "MPEG-2": (lambda: _with_syntax("1.2.840.10008.1.2.4.100"), r"video \(MPEG2 Main Profile.*gdcmraw.*ffmpeg"),
    "MPEG-4": (lambda: _with_syntax("1.2.840.10008.1.2.4.102"), r"video \(MPEG-4 AVC/H.264 High Profile"),
    "HEVC": (lambda: _with_syntax("1.2.840.10008.1.2.4.107"), r"video \(HEVC/H.265 Main Profile"),
    "declared as deflated": (lambda: _with_syntax("1.2.840.10008.1.2.1.99"), "truncated or damaged"),
    "truncated deflated": (lambda: _deflated(dicom(GRAY))[:-700], "cut off|without an image"),
    "a deflate bomb": (lambda: _bomb(), "larger than 256 MB"),
    "deflated zeros": (_deflated_zeros, "more than 100,000 elements"),
    "a sequence of a million items": (_undefined_sequence, "more than 100,000 elements"),
    "a million ultrasound regions": (
        lambda: _inserted(_element((0x0018, 0x6011), b"SQ", _item() * 1_000_000), (0x0028, 0x0002)),
        "more than 100,000 elements",
    ),
    "a million spacings": (
        lambda: _inserted(
            _element((0x5200, 0x9229), b"SQ", _item(_element((0x0028, 0x0030), b"UT", b"1\\" * 1_000_000))), (0x7FE0, 0x0010)
        ),
        "more than 500,000 values",
    ),
    "a million character sets in an item": (
        lambda: _inserted(
            struct.pack("<HH", 0x0008, 0x1140)
            + b"SQ\0\0\xff\xff\xff\xff"
            + _item(_element((0x0008, 0x0005), b"UT", b"1\\" * 1_000_000)),
            (0x0010, 0x0010),
        ),
        "more than 1 KB",
    ),
    "deflated without a length": (
        lambda: _deflated_zeros()[:132] + _deflated_zeros()[144:],
        "deflated, and its first element is not its length",
    ),
    "a table of a million colours": (
        lambda: _inserted(_element((0x0028, 0x1201), b"OB", b"12" * 1_000_000), (0x7FE0, 0x0010)),
        "more than 256 KB",
    ),
    "RLE segments that overlap": (lambda: panicking_rle(GRAY), r"damaged \(PanicException\)"),
    "a wrong syntax": (lambda: _with_syntax("1.2.840.10008.1.2.4.50"), "cut off"),
    "32 bits": (lambda: _declares(dicom(GRAY), BitsAllocated=32, BitsStored=32, HighBit=31), "32 bits; 8 and 16"),
    "more bits stored than allocated": (lambda: _declares(dicom(GRAY), BitsStored=99), "8 bits"),
    "unknown colours": (lambda: _declares(dicom(COLOUR), PhotometricInterpretation="CMYK"), "photometric interpretation"),
    "gray of three numbers": (lambda: _declares(dicom(COLOUR), PhotometricInterpretation="MONOCHROME2"), "can't be"),
    "no palette": (lambda: content(dicom(GRAY, photometric="PALETTE COLOR")), "palette is missing"),
    "an impossible window": (lambda: _declares(dicom(GRAY), WindowCenter="1", WindowWidth="-5"), "truncated or damaged"),
    "an impossible slope": (lambda: _declares(dicom(GRAY), RescaleSlope="1e308", RescaleIntercept="0"), "truncated or damaged"),
    "a lying JPEG 2000": (
        lambda: _lying_codestream(JPEG2000Lossless, lambda _: 8, struct.pack(">LL", 60000, 60000)),
        "60000x60000 pixels",
    ),
    "a lying JPEG-LS": (
        lambda: _lying_codestream(JPEGLSLossless, lambda frame: frame.index(b"\xff\xf7") + 5, struct.pack(">HH", 60000, 60000)),
        "60000x60000 pixels",
    ),
    "a lying JPEG": (
        lambda: _lying_codestream(JPEGBaseline8Bit, lambda frame: frame.index(b"\xff\xc0") + 5, struct.pack(">HH", 60000, 60000)),
        "60000x60000 pixels",
    ),
    "sequences 5,000 deep": (lambda: _deep(5000), "truncated or damaged"),
    "zeros after the mark": (lambda: b"\0" * 128 + b"DICM" + b"\0" * 5000, "DICOM"),
}  # fmt: skip


def _without(made: FileDataset, keyword: str) -> FileDataset:
    delattr(made, keyword)
    return made


def _with_syntax(uid: str) -> bytes:
    """Return the same bytes under another name."""
    start = content(dicom(GRAY))
    old = b"1.2.840.10008.1.2.1\0"
    padded = uid.encode() + b"\0" * (len(uid) % 2)
    place = start.index(old)
    return start[: place - 2] + struct.pack("<H", len(padded)) + padded + start[place + len(old) :]


@pytest.mark.parametrize("kind", HOSTILE)
def test_one_clear_error(tmp_path: Path, kind: str) -> None:
    make, reason = HOSTILE[kind]
    path = tmp_path / "scan.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns while it writes what is wrong on purpose
        path.write_bytes(make())
    tracemalloc.start()
    started = time.thread_time()
    with pytest.raises(errors.ImageError, match=reason) as caught:
        read_scan(path)
    assert is_single(path)
    assert time.thread_time() - started < 20
    assert tracemalloc.get_traced_memory()[1] < 250_000_000
    tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert not [secret for secret in IDENTIFIERS if secret in message]
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None


@pytest.mark.parametrize(
    "syntax", [None, RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit], ids=lambda uid: uid.name if uid else "plain"
)
def test_flipped_and_missing_bytes_are_read_or_refused_with_an_error_of_the_library(syntax: object) -> None:
    made = dicom(GRAY, region((4, 4, 44, 60))) if syntax is None else _compressed(syntax)
    good = content(made)
    rng = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    for _ in range(60):
        bad = bytearray(good)
        for place in rng.integers(132, len(good), rng.integers(1, 8)):
            bad[place] = rng.integers(256)
        for source in (bytes(bad), bytes(bad[: rng.integers(132, len(bad))])):
            try:
                list(expand(source))
                outcomes[f"{read_scan(source).pixels.ndim} dimensions"] += 1
            except errors.BcdsegError:
                outcomes["refused"] += 1
    assert outcomes["refused"] > 0
    assert outcomes.total() == 120
    assert outcomes.keys() <= {"refused", "2 dimensions", "3 dimensions"}


def test_large_private_elements_are_skipped_and_long_headers_are_read() -> None:
    private = _element((0x0009, 0x0010), b"LO", b"A MACHINE ") + _element((0x0009, 0x1001), b"OB", b"\\" * 70_000_000)
    sequence = _element((0x0008, 0x1140), b"SQ", _item(_element((0x0008, 0x1155), b"UI", b"1.2.3\0")) * 20_000)
    nested = _item(_element((0x0088, 0x0904), b"OB", b"\\" * 5_000_000)) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    undefined = struct.pack("<HH", 0x0008, 0x1140) + b"SQ\0\0\xff\xff\xff\xff" + nested
    for element in (private, sequence, undefined):
        np.testing.assert_array_equal(read_scan(_inserted(element, (0x0010, 0x0010))).pixels, GRAY)


def test_a_cut_clip_in_a_folder_is_one_failure(tmp_path: Path) -> None:
    path = save(dicom(np.stack([GRAY] * 4), clip=True), tmp_path / "clip.dcm")
    path.write_bytes(path.read_bytes()[:-10])
    assert list(expand(tmp_path)) == [path]
