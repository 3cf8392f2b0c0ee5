"""Masks as boolean arrays: read from mask files and annotation files, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bcdseg.data.annotations.polygons import fill
from bcdseg.data.images import is_array, load_array, read_image, read_picture
from bcdseg.errors import ImageError, ImageTypeError, NotAScanError
from bcdseg.sources import is_dicom
from bcdseg.types import LesionMask, Mask, MaskSource, Sample

FEW_LEVELS = 8
MOST_LESIONS = 31  # whole numbers up to it are numbers of lesions; the white of a mask is far brighter


def read_mask(masks: Sequence[MaskSource], size: tuple[int, int], resize: bool = False) -> Mask:
    """Read the masks of one scan and merge them: a pixel is lesion if it is lesion in any of them.

    Black and transparent pixels are background; all other colours are lesion, also where each lesion has its own number. In a file
    with more than eight levels (soft edges, JPEG) a pixel is lesion above half of the brightest value. If all colours of a file are
    black and its alpha channel is not uniform, the alpha channel is the mask. In a DICOM segmentation all segments are lesion but
    candidates of a model.

    Args:
        masks: One or more mask files or masks in annotation files.
        size: Height and width of the image.
        resize: Whether to resize a mask of another size to ``size`` (nearest neighbour). Otherwise it is an error.

    Raises:
        ImageError: A file can't be read, has several frames or pages, or its size differs from the image's.
    """
    merged = np.zeros(size, bool)
    for source in masks:
        mask = draw_lesion(source) if isinstance(source, LesionMask) else _read_one(source)
        if mask.shape != size:
            if not resize:
                path = source.file if isinstance(source, LesionMask) else source
                raise ImageError(
                    f"{path}: the mask is {mask.shape[0]}x{mask.shape[1]} pixels, its image {size[0]}x{size[1]} (height x width). "
                    "Check that they belong together, or resize such masks: resize_masks=True, --resize-masks."
                )
            mask = _resized(mask, size)
        merged |= mask
    return merged


def mask_of(values: NDArray[Any]) -> Mask:
    """Return where an array of mask values is lesion: above 0, or above half of the brightest where there are many levels.

    Whole numbers up to 31 number the lesions, so that all above 0 are lesion, unless most of them border one another, as the
    levels of a soft edge do and lesions don't.

    Args:
        values: H x W, or with channels first or last.
    """
    value = values.squeeze()
    value = value.max(axis=0 if value.shape[0] <= 4 else 2) if value.ndim == 3 else value
    levels = np.unique(value)
    brightest = value.max(initial=0)
    numbered = value.dtype.kind in "ui" and brightest <= MOST_LESIONS
    above_zero = len(levels) <= FEW_LEVELS or (numbered and not _is_soft(value, len(levels)))
    mask: Mask = value > (0 if above_zero else brightest / 2)
    return mask


def check_mask(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the values of a mask, or raise an ImageError for those that are not a mask.

    Args:
        values: The values.
        name: Name of the mask for the error.
    """
    if values.dtype.kind not in "buif" or values.squeeze().ndim not in (2, 3):
        raise ImageError(f"{name}: an array of shape {values.shape} and type {values.dtype} is not a mask; H x W of numbers is.")
    if wrong := int(np.count_nonzero(~(values >= 0))):
        raise ImageError(
            f"{name}: the mask has {wrong} pixels below 0 or NaN. Give 0 where there is no lesion, and above 0 in one; leave out "
            "the mask of a scan whose mask is unknown."
        )
    return values


def _is_soft(value: NDArray[Any], levels: int) -> bool:
    """Return whether most levels border another one that isn't 0."""
    touching: set[Any] = set()
    for one, other in ((value[1:], value[:-1]), (value[:, 1:], value[:, :-1])):
        border = (one != other) & (one > 0) & (other > 0)
        touching.update(one[border].tolist(), other[border].tolist())
    return len(touching) > levels / 2


def has_mask(sample: Sample, negative_class: str | None) -> bool:
    """Return whether the mask of a sample is known: it has one, or its class has no lesion, so that the mask is empty.

    Args:
        sample: The sample.
        negative_class: Class without a lesion, or None.
    """
    return bool(sample.masks) or (negative_class is not None and sample.label == negative_class)


def draw_lesion(mask: LesionMask) -> Mask:
    """Return the mask of a lesion in the size of the image that was annotated."""
    drawn = fill(mask.polygons, mask.size)
    if mask.box is not None:
        top, left, bottom, right = mask.box
        height, width = bottom - top, right - left
        bits = np.unpackbits(np.frombuffer(mask.bitmap, np.uint8), count=height * width)
        drawn[top:bottom, left:right] |= bits.reshape(height, width).astype(bool)
    return drawn


def mask_size(mask: MaskSource) -> tuple[int, int]:
    """Return the height and width of a mask."""
    if isinstance(mask, LesionMask):
        return mask.size
    height, width = _read_one(mask).shape
    return height, width


def _read_one(path: Path) -> Mask:
    if is_dicom(path):
        return _read_dicom(path)
    values = mask_values(path)
    return mask_of(values) if is_array(path) or values.any() else _drawn_in_transparency(path, values.shape[:2])


def mask_values(path: Path) -> NDArray[Any]:
    """Return the values in a mask file that is not DICOM.

    Raises:
        ImageError: The file can't be read, is not a mask, or has several frames or pages.
    """
    if is_array(path):
        return _read_array(path)
    try:
        values, has_more_frames = read_picture(path, str(path))
    except ImageTypeError:  # whole numbers of 32 bits, such as numbers of lesions, which have no meaning as an image
        with Image.open(path) as image:
            values = check_mask(np.asarray(ImageOps.exif_transpose(image)), str(path))
            has_more_frames = getattr(image, "is_animated", False)
    if has_more_frames:
        raise ImageError(
            f"{path}: the mask file has several frames or pages, and which of them belong to the image is unknown. Save each as a "
            "file of its own; a scan may have several mask files."
        )
    return values


def _read_dicom(path: Path) -> Mask:
    try:
        return mask_of(read_image(path))
    except NotAScanError:
        from bcdseg.dicom.segmentation import read_outline

        return read_outline(path)


def _read_array(path: Path) -> NDArray[Any]:
    """Read the mask of an array, which may contain whole numbers of any type."""
    try:
        values = load_array(path, str(path))
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path}: can't be read as an array ({error}). Save it again with numpy.save.") from error
    return check_mask(values, str(path))


def _drawn_in_transparency(path: Path, size: tuple[int, ...]) -> Mask:
    with Image.open(path) as image:
        alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else np.zeros(size, np.uint8)
    mask: Mask = alpha > 127
    return np.zeros(size, bool) if mask.all() else mask


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))


def dice(one: Mask, other: Mask) -> float:
    """Return the Dice coefficient: 2 |A and B| / (|A| + |B|), twice the intersection over the sum of both areas.

    Empty masks: 1 when both are empty; 0 when one is, which is a missed or a false lesion.

    Examples:
        >>> dice(np.array([[True, True]]), np.array([[True, False]]))
        0.6666666666666666
    """
    both = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2 * int(np.count_nonzero(one & other)) / both if both else 1.0
