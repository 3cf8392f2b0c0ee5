"""Mask files, read as one boolean array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bcdseg.data.images import read_image
from bcdseg.errors import ImageError, NotAScanError
from bcdseg.types import Mask

FEW_LEVELS = 8


def read_mask(paths: Sequence[Path], size: tuple[int, int], resize: bool = False) -> Mask:
    """Read the mask files of one scan and merge them: a pixel is lesion if it is lesion in any file.

    Black and transparent pixels are background; all other colours are lesion. In a file with more than a few levels (soft edges,
    JPEG) a pixel is lesion above half of the brightest value. If all colours of a file are black and its alpha channel is not
    uniform, the alpha channel is the mask. In a DICOM segmentation all segments are lesion.

    Args:
        paths: One or more mask files.
        size: Height and width of the image.
        resize: Whether to resize a mask of another size to ``size`` (nearest neighbour). Otherwise it is an error.

    Raises:
        ImageError: A file can't be read, or its size differs from the image's.
    """
    merged = np.zeros(size, bool)
    for path in paths:
        mask = _read_one(path)
        if mask.shape != size:
            if not resize:
                raise ImageError(
                    f"{path}: the mask is {mask.shape[0]}x{mask.shape[1]} pixels, its image {size[0]}x{size[1]} (height x width). "
                    "Check that they belong together, or open the data set with resize_masks=True."
                )
            mask = _resized(mask, size)
        merged |= mask
    return merged


def _read_one(path: Path) -> Mask:
    try:
        pixels = read_image(path)
    except NotAScanError:
        from bcdseg.dicom.segmentation import read_outline

        return read_outline(path)
    value = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    if not value.any():
        return _drawn_in_transparency(path, value.shape)
    few = len(np.unique(value)) <= FEW_LEVELS
    mask: Mask = value > (0 if few else value.max() / 2)
    return mask


def _drawn_in_transparency(path: Path, size: tuple[int, ...]) -> Mask:
    with Image.open(path) as image:
        alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else np.zeros(size, np.uint8)
    mask: Mask = alpha > 127
    return np.zeros(size, bool) if mask.all() else mask


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
