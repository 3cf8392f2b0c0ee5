"""Tiny made data sets with the folder and file names of real ones: an ellipse as the lesion, on speckle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 64)
CLASSES = ("normal", "benign", "malignant")
GAIN = {"normal": 0.5, "benign": 0.6, "malignant": 0.7}


def scan(seed: int, label: str = "benign", size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Return a scan (uint8) and its mask (bool); a normal one has no lesion. The same seed gives the same scan."""
    rng = np.random.default_rng((seed, CLASSES.index(label) if label in CLASSES else len(label)))
    height, width = size
    row, column = np.mgrid[:height, :width]
    centre = rng.uniform(0.35, 0.65, 2) * size
    radius = rng.uniform(0.15, 0.3, 2) * size
    mask = ((row - centre[0]) / radius[0]) ** 2 + ((column - centre[1]) / radius[1]) ** 2 < 1
    if label == "normal":
        mask[:] = False
    tissue = rng.rayleigh(0.4, size) * GAIN.get(label, 0.6) * np.where(mask, 0.35, 1.0)
    return (np.clip(tissue, 0, 1) * 255).astype(np.uint8), mask


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write an array as an image, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels).save(path, **options)
    return path


def busi(
    folder: Path, counts: Mapping[str, int] | Sequence[int] = (2, 3, 3), *, flat: bool = False, second_mask: bool = True
) -> Path:
    """Write BUSI as released: ``benign/benign (1).png``, ``benign (1)_mask.png``, and for the first benign a ``_mask_1.png``.

    Args:
        folder: Where to.
        counts: Scans of each class, by name or of normal, benign and malignant.
        flat: All in one folder.
        second_mask: Draw the right half of the first benign lesion into a mask file of its own.
    """
    counts = counts if isinstance(counts, Mapping) else dict(zip(CLASSES, counts, strict=True))
    for label, count in counts.items():
        place = folder if flat else folder / label
        for number in range(1, count + 1):
            name = f"{label} ({number})"
            pixels, mask = scan(number, label)
            save(place / f"{name}.png", pixels)
            if second_mask and name == "benign (1)":
                right = np.arange(mask.shape[1]) >= mask.shape[1] // 2
                save(place / f"{name}_mask_1.png", mask & right)
                mask = mask & ~right
            save(place / f"{name}_mask.png", mask)
    return folder


def zipped(folder: Path) -> bytes:
    """Return a zip archive of a folder and the images in it."""
    return packed({path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in folder.rglob("*.png")})


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of files, by their names in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()
