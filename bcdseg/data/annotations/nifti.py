"""NIfTI files of two-dimensional images and masks (extra ``nifti``).

The first axis of the file runs to the right and the second one down, as SimpleITK and nnU-Net read them. Orientations in the header
are left out, for images and masks alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import ImageError
from bcdseg.extras import require
from bcdseg.types import SPACING_RANGE, Spacing

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
    nibabel = require("nibabel", extra="nifti", purpose=f"Reading {path.name}")
    try:
        image = nibabel.load(path)
        plane = [side for side in image.shape if side != 1]
        if len(plane) > 2 or np.prod(plane) > largest:
            raise ImageError(
                f"{path}: an array of shape {image.shape} is not one two-dimensional image. Write each slice as a file."
            )
        values: NDArray[Any] = (
            np.asarray(image.dataobj).reshape(image.shape[:2] if max(image.shape[2:], default=1) == 1 else plane).T
        )
    except FileNotFoundError:
        raise
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path}: can't be read as NIfTI ({error}). Export it again.") from error
    if values.dtype.kind in "iu" and values.dtype.itemsize > 1 and values.size and values.min() >= 0 and values.max() <= BRIGHTEST:
        return values.astype(np.uint8)
    return values


def nifti_spacing(path: Path) -> Spacing | None:
    """Return the millimetres per pixel of a NIfTI file, down and across; None where the header contains only its default of 1."""
    header: Any = require("nibabel", extra="nifti", purpose=f"Reading {path.name}").load(path).header
    across, down = (float(value) for value in header.get_zooms()[:2])
    least, most = SPACING_RANGE
    known = header.get_xyzt_units()[0] == MILLIMETRES and (across, down) != (1.0, 1.0)
    return (down, across) if known and least <= min(across, down) and max(across, down) <= most else None
