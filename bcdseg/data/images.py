"""Images of any kind, read as one array.

The array is H x W (gray) or H x W x 3 (colour), and uint8 or float32 from 0 to 1. The rules:

- ``uint8`` stays as it is; ``bool`` becomes black and white. ``uint16`` is divided by the largest value of its bits: 65535, or 4095
  and 255 where all values fit in 12 and 8 bits, as machines store them.
- Floats range from 0 to 1 if none is above 1, else from 0 to 255. A value below 0 or above 255 is an error.
- If all values are 8-bit levels (multiples of 1/255), they become ``uint8``, which loses nothing: gray conversion and resizing
  round to whole gray levels in 8 bits but not in floats, so the same scan would otherwise give two results. Values with 12 or 16
  bits are between those levels and stay floats.
- Transparent pixels are blended with black, the background of a scan. CMYK and palettes become RGB.
- The EXIF orientation of a file or PIL image is applied.
- NIfTI with one two-dimensional image is read as nnU-Net reads it (extra ``nifti``).
- DICOM with one frame is read as a viewer displays it (extra ``dicom``).
- A ``.npy`` file is read as its array.
- Of a TIFF, PNG or WebP file with several frames or pages the first is read, and ``Picture`` states that there are others.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bcdseg.data.annotations.nifti import load_nifti
from bcdseg.errors import BcdsegError, ImageError, ImageNotFoundError, ImageTypeError
from bcdseg.sources import (
    _TOO_LARGE,
    EXITS,
    LARGEST,
    SMALLEST,
    ImageSource,
    check_size,
    is_dicom,
    is_nifti,
    open_regular,
    source_name,
)
from bcdseg.types import Pixels

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
ARRAY_SUFFIX = ".npy"
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
BAND = 256  # rows that are processed together
STEP = float(np.finfo(np.float32).eps)


class Picture(NamedTuple):
    """Image that is not DICOM.

    Attributes:
        pixels: The image, as ``read_image`` returns it.
        has_more_frames: Whether the file has other frames or pages, which are not read.
    """

    pixels: Pixels
    has_more_frames: bool = False


def read_image(source: ImageSource, name: str | None = None) -> Pixels:
    """Read one image as an array.

    Args:
        source: The image; see ``ImageSource``. Arrays are H x W, H x W x 1, H x W x 3, 1 x H x W or 3 x H x W (also with an alpha
            channel last).
        name: Name of the image in errors; by default its path or type.

    Returns:
        The image as H x W or H x W x 3, uint8 or float32 from 0 to 1.

    Raises:
        ImageNotFoundError: The path does not lead to a file.
        ImageError: The content is damaged, too large or too small, or contains NaN or infinite values.
        ImageTypeError: The type or dtype has no meaning as an image.
    """
    name = name or source_name(source)
    if not is_dicom(source):
        return read_picture(source, name).pixels
    from bcdseg.dicom.scan import read_frame

    with _translated_errors(name):
        return read_frame(source, name, keep_identifiers=True).pixels


def read_picture(source: ImageSource, name: str) -> Picture:
    """Read one image that is not DICOM, as ``read_image`` does."""
    with _translated_errors(name):
        if isinstance(source, (str, os.PathLike)):
            return _read_file(Path(source), name)
        if isinstance(source, (bytes, bytearray, memoryview)):
            return _decode(io.BytesIO(source), name)
        if isinstance(source, Image.Image):
            return Picture(_from_pil(source, name))
        if isinstance(source, np.ndarray):
            return Picture(_from_array(source, name))
        if hasattr(source, "detach") and hasattr(source, "cpu"):
            return Picture(_from_tensor(source, name))
        if hasattr(source, "read"):
            _check_open(source, name)
            return _decode(source, name)
        raise ImageTypeError(
            f"{name}: an image can't be made of {type(source).__name__}. "
            "Give a path, bytes, an open binary file, a PIL image, a numpy array, a torch tensor or a pydicom Dataset."
        )


@contextmanager
def _translated_errors(name: str) -> Iterator[None]:
    """Raise an ImageError in place of what Pillow, torch and a caller's own open file raise."""
    try:
        yield
    except (BcdsegError, *EXITS):
        raise
    except BaseException as error:
        raise ImageError(f"{name}: can't be read as an image ({type(error).__name__}: {error}).") from error


def to_gray(pixels: Pixels) -> Pixels:
    """Convert colour to gray by luma (ITU-R 601) and keep the dtype."""
    if pixels.ndim == 2:
        return pixels
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))
    gray: Pixels = pixels @ LUMA
    return gray


def to_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """Convert an image to 8 bits."""
    if pixels.dtype == np.uint8:
        return pixels
    return (pixels * 255 + 0.5).astype(np.uint8)


def _read_file(path: Path, name: str) -> Picture:
    if path.is_dir():
        raise ImageNotFoundError(f"{name}: is a folder, not an image. Give a file in it, or predict the whole folder.")
    try:
        if is_array(path):
            return Picture(_from_array(load_array(path, name), name))
        with open_regular(path, name) as file:
            return _decode(file, name)
    except FileNotFoundError:
        raise ImageNotFoundError(f"{name}: no such file. Check the path (the current folder is {Path.cwd()}).") from None
    except PermissionError as error:
        raise ImageError(f"{name}: can't be opened ({error.strerror}). Check the permissions of the file.") from error


def is_array(path: Path) -> bool:
    """Return whether a file has the suffix of an array: ``.npy`` or NIfTI."""
    return path.suffix.lower() == ARRAY_SUFFIX or is_nifti(path)


def load_array(path: Path, name: str) -> NDArray[Any]:
    """Load the array of a ``.npy`` or NIfTI file, after its size is checked; arrays of Python objects are refused."""
    with open_regular(path, name):
        if is_nifti(path):
            return load_nifti(path, LARGEST * LARGEST)
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if stored.size > 4 * LARGEST * LARGEST:
        raise ImageError(f"{name}: an array of shape {stored.shape} is larger than {LARGEST}x{LARGEST}. {_TOO_LARGE}")
    return np.array(stored)


def _check_open(file: Any, name: str) -> None:
    if isinstance(file, io.TextIOBase):
        raise ImageTypeError(f"{name}: is open as text. Open it as binary, open(path, 'rb'), or give its path.")
    if getattr(file, "closed", False):
        raise ImageError(f"{name}: the file is closed. Give an open file, or its path.")


def _decode(file: IO[bytes], name: str) -> Picture:
    with warnings.catch_warnings():
        # Pillow warns of a decompression bomb at half the size that it refuses; the size is checked here, before decoding.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                check_size(image.height, image.width, name)
                ImageOps.exif_transpose(image, in_place=True)  # not in place it copies the pixels in any case
                return Picture(_pixels_of(image, name), _has_more_frames(image))
        except UnidentifiedImageError:
            raise ImageError(f"{name}: {_what_it_is_not(file)}") from None
        except Image.DecompressionBombError:
            raise ImageError(f"{name}: declares more pixels than {LARGEST}x{LARGEST}. {_TOO_LARGE}") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(f"{name}: the file is truncated or damaged ({error}). Copy or export it again.") from error


def _has_more_frames(image: Image.Image) -> bool:
    """Return whether an open file has several frames; a JPEG with a second picture for other displays (MPO) is one image."""
    return bool(getattr(image, "is_animated", False)) and image.format != "MPO"


def _what_it_is_not(file: IO[bytes]) -> str:
    file.seek(0)
    if not file.read(1):
        return "the file is empty. Copy or export it again."
    return "is not an image in a format that is read here (PNG, JPEG, BMP, TIFF, WebP, DICOM), whatever its name is."


def _from_pil(image: Image.Image, name: str) -> Pixels:
    check_size(image.height, image.width, name)
    return _pixels_of(ImageOps.exif_transpose(image), name)


def _pixels_of(image: Image.Image, name: str) -> Pixels:
    if image.mode == "La":
        image = image.convert("LA")
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa"):
        return _over_black(image)
    if image.mode in ("L", "RGB"):
        return np.array(image)
    if image.mode == "1":
        return np.array(image.convert("L"))
    if image.mode.startswith(("I", "F")):
        return _from_array(np.array(image), name)
    return np.array(image.convert("RGB"))


def _over_black(image: Image.Image) -> Pixels:
    gray = image.mode == "LA"
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return np.array(Image.alpha_composite(black, rgba).convert("L" if gray else "RGB"))


def _from_tensor(tensor: Any, name: str) -> Pixels:
    tensor = tensor.detach().cpu().resolve_neg()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    return _from_array(tensor.numpy(), name)


def _from_array(array: NDArray[Any], name: str) -> Pixels:
    if np.ma.is_masked(array):
        raise ImageError(f"{name}: is a masked array. Fill its masked pixels first, for example array.filled(0).")
    array = _channels_last(array, name)
    check_size(array.shape[0], array.shape[1], name)
    values = _as_intensities(array, name)
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1:].astype(np.float32) / (255 if values.dtype == np.uint8 else 1)
        laid = values[..., :-1] * alpha
        values = (laid + 0.5).astype(np.uint8) if values.dtype == np.uint8 else laid.astype(np.float32)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    return np.ascontiguousarray(values)


def _channels_last(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.ndim == 2:
        return array
    if array.ndim != 3:
        hint = " Give the images of a batch one by one, or as a list." if array.ndim == 4 else ""
        raise ImageError(f"{name}: an array of {array.ndim} dimensions is not an image; H x W, H x W x 3 or 3 x H x W is.{hint}")
    if array.shape[2] in (1, 2, 3, 4) and array.shape[0] >= SMALLEST:
        return array
    if array.shape[0] in (1, 3):
        return np.moveaxis(array, 0, -1)
    raise ImageError(f"{name}: an array of shape {array.shape} is not an image; H x W, H x W x 3 or 3 x H x W is.")


def _as_intensities(array: NDArray[Any], name: str) -> Pixels:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        black_and_white: Pixels = np.where(array, np.uint8(255), np.uint8(0))
        return black_and_white
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # of either byte order
        return _eight_bits_if_exact(_scaled(array, _largest_of_bits(array)), STEP)
    if array.dtype.kind != "f":
        raise ImageTypeError(
            f"{name}: an array of dtype {array.dtype} is ambiguous as an image. "
            "Give uint8, uint16, bool, or floats from 0 to 1 or from 0 to 255."
        )
    return _float_intensities(array, name)


def _scaled(array: NDArray[Any], by: float) -> Pixels:
    scaled: Pixels = array.astype(np.float32) / np.float32(by)
    return scaled


def _largest_of_bits(array: NDArray[Any]) -> int:
    """Return the largest value of 8, 12 or 16 bits: of the fewest that all values fit in."""
    highest = int(array.max())
    return next(largest for largest in (255, 4095, 65535) if highest <= largest)


def _float_intensities(array: NDArray[Any], name: str) -> Pixels:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~np.isfinite(array)).sum())
        raise ImageError(f"{name}: contains {bad} NaN or infinite values. Replace them, for example with numpy.nan_to_num.")
    if low < 0 or high > 255:
        raise ImageError(f"{name}: floats run from {low:g} to {high:g}. Scale them to 0..1 or 0..255 first.")
    return _eight_bits_if_exact(_scaled(array, 1 if high <= 1 else 255), max(STEP, float(np.finfo(array.dtype).eps)))


def _eight_bits_if_exact(values: NDArray[np.float32], step: float) -> Pixels:
    """Return intensities as ``uint8`` if each is a multiple of 1/255, else as they are.

    Args:
        values: Intensities from 0 to 1.
        step: Relative precision of their original number type; a multiple may be off by one such step.
    """
    levels = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), BAND):  # in bands, to find values between the levels early and to use little memory
        band = values[top : top + BAND]
        nearest = np.rint(band * 255)
        if (np.abs(band * 255 - nearest) > 2 * step * nearest).any():
            return values
        levels[top : top + BAND] = nearest
    return levels
