"""NIfTI files of two-dimensional images and masks (extra ``nifti``).

The first axis of the file runs to the right and the second one down, as SimpleITK and nnU-Net read them. Orientations in the header
are left out, for images and masks alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import BcdsegError, ImageError
from bcdseg.extras import require
from bcdseg.sources import is_nifti
from bcdseg.types import SPACING_RANGE, Sample, Spacing

MILLIMETRES = "mm"
BRIGHTEST = 255


def load_nifti(path: Path, largest: int) -> NDArray[Any]:
    """Return the values of a NIfTI file as rows and columns; whole numbers of 8 bits become ``uint8``.

    Args:
        path: The file.
        largest: Greatest accepted number of values.

    Raises:
        ImageError: The file is damaged, or contains a volume.
        MissingExtraError: nibabel is not installed.
    """
    with _opened(path) as image:
        axes = _plane(image.shape)
        if len(axes) > 2 or np.prod([image.shape[axis] for axis in axes]) > largest:
            raise ImageError(
                f"{path}: an array of shape {image.shape} is not one two-dimensional image. Write each slice as a file."
            )
        values: NDArray[Any] = np.asarray(image.dataobj).reshape([image.shape[axis] for axis in axes]).T
    if values.dtype.kind in "iu" and values.dtype.itemsize > 1 and values.size and values.min() >= 0 and values.max() <= BRIGHTEST:
        return values.astype(np.uint8)
    return values


def nifti_spacing(path: Path) -> Spacing | None:
    """Return the millimetres per pixel of a NIfTI file, down and across; None where the header contains only its default of 1.

    Raises:
        ImageError: The file is damaged.
        MissingExtraError: nibabel is not installed.
    """
    with _opened(path) as image:
        zooms, axes = image.header.get_zooms(), _plane(image.shape)
        is_known = image.header.get_xyzt_units()[0] == MILLIMETRES and len(axes) == 2
    # the text of a 32-bit number is 0.1, its value as a float 0.10000000149
    across, down = (float(str(zooms[axis])) for axis in axes) if is_known else (1.0, 1.0)
    least, most = SPACING_RANGE
    return (down, across) if (across, down) != (1.0, 1.0) and least <= min(across, down) and max(across, down) <= most else None


def with_header_spacing(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples with the spacing in the headers of NIfTI images, where they have none.

    A file that can't be opened adds none: reading it reports the error.
    """
    return [replace(one, spacing=_spacing_or_none(one.image)) if _lacks_spacing(one) else one for one in samples]


def _lacks_spacing(sample: Sample) -> bool:
    return sample.spacing is None and is_nifti(sample.image)


def _spacing_or_none(path: Path) -> Spacing | None:
    try:
        return nifti_spacing(path)
    except (BcdsegError, FileNotFoundError):
        return None


def _plane(shape: Sequence[int]) -> list[int]:
    """Return the axes of the image: the first two, or those that are longer than 1."""
    if max(shape[2:], default=1) == 1:
        return list(range(len(shape[:2])))
    return [axis for axis, side in enumerate(shape) if side != 1]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, and raise an ``ImageError`` for all that is wrong with it."""
    nibabel = require("nibabel", extra="nifti", purpose=f"Reading {path.name}")
    try:
        yield nibabel.load(path)
    except FileNotFoundError:
        raise
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path}: can't be read as NIfTI ({error}). Export it again.") from error
