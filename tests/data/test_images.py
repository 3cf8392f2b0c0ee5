"""Every kind of image that is read, and every kind that is refused, with its reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import draw_scan
from numpy.typing import NDArray
from PIL import Image

from bcdseg import Model, errors
from bcdseg.data.images import read_image, to_gray, to_uint8
from bcdseg.data.preprocessing import Preprocessing

GRAY = draw_scan(1, (40, 60))
COLOUR = np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=-1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp"])
@pytest.mark.parametrize("pixels", [GRAY, COLOUR], ids=["gray", "colour"])
def test_lossless_files_come_back_to_the_bit(tmp_path: Path, suffix: str, pixels: NDArray[np.uint8]) -> None:
    path = tmp_path / f"a scan [1] größe.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    read = read_image(path)
    expected = np.repeat(pixels[..., None], 3, axis=2) if suffix == "webp" and pixels.ndim == 2 else pixels
    np.testing.assert_array_equal(read, expected)


def test_jpeg_comes_back_closely(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))
    Image.fromarray(smooth).save(tmp_path / "scan.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "scan.jpg").astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_depth(tmp_path: Path, suffix: str) -> None:
    deep = (GRAY.astype(np.uint16) << 8) + 7
    Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
    read = read_image(tmp_path / f"deep.{suffix}")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, deep / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 0), ("L", 0), ("LA", 0), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3), ("I;16", 0), ("F", 0)]
)
def test_every_mode_of_pil(mode: str, channels: int) -> None:
    image = Image.new(mode, (60, 40))
    assert read_image(image).shape == ((40, 60, 3) if channels else (40, 60))


def test_transparency_lies_over_black() -> None:
    pixels = np.full((20, 20, 4), 200, np.uint8)
    pixels[:10, :, 3] = 0
    read = read_image(Image.fromarray(pixels))
    assert (read[:10] == 0).all()
    assert (np.abs(read[10:].astype(int) - 200 * 200 / 255) <= 1).all()
    assert np.abs(read_image(pixels).astype(int) - read).max() <= 1


def test_palette_gives_its_colours() -> None:
    red = Image.new("RGB", (30, 20), (250, 10, 30)).quantize(4)
    assert read_image(red)[0, 0].tolist() == [250, 10, 30]


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    image = Image.fromarray(GRAY)
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned by a quarter, clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(GRAY, -1))


ARRAYS = {
    "H x W": GRAY,
    "H x W x 1": GRAY[..., None],
    "1 x H x W": GRAY[None],
    "H x W x 3": np.repeat(GRAY[..., None], 3, 2),
    "3 x H x W": np.repeat(GRAY[None], 3, 0),
    "tensor": torch.from_numpy(GRAY),
    "tensor 1 x H x W, floats": torch.from_numpy(GRAY).float()[None] / 255,
    "bfloat16 tensor": (torch.from_numpy(GRAY // 2 * 2).float() / 256).bfloat16(),
    "PIL": Image.fromarray(GRAY),
    "not contiguous": np.asfortranarray(GRAY)[:, ::1],
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_every_shape_are_one_picture(kind: str) -> None:
    read = to_uint8(to_gray(read_image(ARRAYS[kind])))
    assert np.abs(read.astype(int) - GRAY).max() <= (2 if "bfloat16" in kind else 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GRAY.astype(np.float64) / 255, GRAY / 255),
        (GRAY.astype(np.float32), GRAY / 255),
        (GRAY.astype(np.float16) / 255, GRAY / 255),
        (GRAY.astype(np.uint16) * 257, GRAY / 255),
        (GRAY.astype(np.uint16) * 16, GRAY / 255.9375),
        (GRAY.astype(np.uint16), GRAY / 255),
        (GRAY > 100, (GRAY > 100).astype(float)),
    ],
    ids=["float 0..1", "float 0..255", "float16", "uint16", "12 bits in 16", "8 bits in 16", "bool"],
)
def test_the_rule_for_values(values: NDArray[np.generic], expected: NDArray[np.float64]) -> None:
    read = read_image(values)
    np.testing.assert_allclose(read / (255 if read.dtype == np.uint8 else 1), expected, atol=2e-3)


def test_bytes_and_open_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(GRAY).save(buffer, "PNG")
    np.testing.assert_array_equal(read_image(buffer.getvalue()), GRAY)
    (tmp_path / "scan.png").write_bytes(buffer.getvalue())
    with (tmp_path / "scan.png").open("rb") as file:
        np.testing.assert_array_equal(read_image(file), GRAY)
    with pytest.raises(errors.ImageError, match="is closed"):
        read_image(file)
    with (tmp_path / "scan.png").open(encoding="utf-8") as text, pytest.raises(errors.ImageTypeError, match="as text"):
        read_image(text)
    np.testing.assert_array_equal(read_image(str(tmp_path / "scan.png")), GRAY)


def _png_that_declares(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GRAY).save(buffer, "PNG")
    return buffer.getvalue()


BAD_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"not an image at all, but named .png", "not an image"),
    "truncated": (_png()[:300], "truncated or damaged"),
    "truncated header": (_png()[:20], "truncated or damaged|not an image"),
    "bomb": (_png_that_declares(60000, 60000), "more pixels|60000"),
    "tall bomb": (_png_that_declares(100, 20000), "20000x100"),
    "tiny": (_png_that_declares(3, 3), "3x3"),
    "dicom": (b"\0" * 128 + b"DICM" + b"\0" * 100, "DICOM"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_named_with_the_reason(tmp_path: Path, kind: str) -> None:
    content, reason = BAD_FILES[kind]
    path = tmp_path / f"{kind}.png"
    path.write_bytes(content)
    with pytest.raises(errors.ImageError, match=reason) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(errors.ImageNotFoundError, match="no such file") as caught:
        read_image(tmp_path / "missing.png")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(errors.ImageNotFoundError, match="is a folder"):
        read_image(tmp_path)


BAD_VALUES = {
    "NaN": (np.where(GRAY > 100, np.nan, 0.5), "NaN or infinite"),
    "infinite": (np.where(GRAY > 100, np.inf, 0.5), "NaN or infinite"),
    "negative": (GRAY.astype(float) - 50, "Scale them"),
    "too large": (GRAY.astype(float) * 20, "Scale them"),
    "masked": (np.ma.masked_less(GRAY, 100), "masked array"),
    "4-D": (np.zeros((1, 1, 40, 60), np.uint8), "4 dimensions.*one by one"),
    "1-D": (np.zeros(400, np.uint8), "1 dimensions"),
    "zero size": (np.zeros((0, 10), np.uint8), "smallest"),
    "five channels": (np.zeros((40, 60, 5), np.uint8), "shape"),
    "too small": (np.zeros((15, 40), np.uint8), "16x16"),
    "too wide": (np.zeros((16, 10001), np.uint8), "10000x10000"),
}


@pytest.mark.parametrize("kind", BAD_VALUES)
def test_bad_arrays_are_refused_with_the_reason(kind: str) -> None:
    values, reason = BAD_VALUES[kind]
    with pytest.raises(errors.ImageError, match=reason):
        read_image(values)


@pytest.mark.parametrize("values", [GRAY.astype(np.int64), GRAY.astype(complex), GRAY.astype(str), 5, None, {"a": 1}])
def test_types_without_a_meaning_are_refused(values: object) -> None:
    with pytest.raises(errors.ImageTypeError) as caught:
        read_image(values)
    assert isinstance(caught.value, TypeError)


EIGHT_BITS = {
    "float64": lambda pixels: pixels / 255,
    "float32": lambda pixels: pixels.astype(np.float32) / 255,
    "float32, multiplied": lambda pixels: pixels.astype(np.float32) * np.float32(1 / 255),
    "float16": lambda pixels: (pixels / 255).astype(np.float16),
    "float 0..255": lambda pixels: pixels.astype(np.float32),
    "uint16": lambda pixels: pixels.astype(np.uint16) * 257,
    "tensor 3 x H x W": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).float() / 255,
}


@pytest.mark.parametrize("kind", EIGHT_BITS)
def test_eight_bits_are_the_same_scan_in_every_type(kind: str, small_model: Model) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    every = np.stack([every, every.T, every[::-1]], axis=-1)
    read = read_image(EIGHT_BITS[kind](every))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, every)
    expected, found = small_model.predict(COLOUR), small_model.predict(EIGHT_BITS[kind](COLOUR))
    assert found.probabilities == expected.probabilities
    np.testing.assert_array_equal(found.mask_probability, expected.mask_probability)


@pytest.mark.parametrize("levels", [4095, 65535], ids=["12 bits", "16 bits"])
@pytest.mark.parametrize("channels", [1, 3])
def test_deeper_values_keep_their_precision_on_the_way_to_the_network(levels: int, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, levels + 1, (32, 64, channels))
    read = read_image(deep / levels)
    assert read.dtype == np.float32
    gray = to_gray(read)
    expected = (deep / levels) @ ([1] if channels == 1 else [0.299, 0.587, 0.114])
    np.testing.assert_allclose(gray, expected, atol=1e-6)
    prepared = Preprocessing(size=(32, 64), mean=(0.0,), std=(1.0,))(read)
    np.testing.assert_allclose(prepared.array[0], expected, atol=1e-6)
