"""Outlined scans: what the writers of all annotation formats have in common."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bcdseg.data.annotations.own_keys import own_keys
from bcdseg.data.annotations.polygons import Polygon, components, trace
from bcdseg.data.images import SUFFIXES, to_uint8
from bcdseg.data.layouts.listing import Listing
from bcdseg.data.masks import read_mask
from bcdseg.data.readers import read_sample_scan
from bcdseg.errors import OptionError, OutputExistsError
from bcdseg.files import check_free, write_whole
from bcdseg.messages import name_some
from bcdseg.types import LesionMask, Mask, Pixels, Sample

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

LESION = "lesion"
"""Name of a lesion without a class."""


DEEP = 65535
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Outline:
    """The outline of one lesion.

    Attributes:
        label: Class of the lesion, or ``lesion``.
        region: Mask of the image's size, or of the window.
        score: Probability of the lesion, or None for the truth.
        window: Window of the image that the region fills, or None for the whole image.
        size: Height and width of the image, for a region of a window.
    """

    label: str
    region: Mask
    score: float | None = None
    window: tuple[slice, slice] | None = None
    size: tuple[int, int] = (0, 0)

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the region's first pixel in the image."""
        return (0, 0) if self.window is None else (self.window[0].start, self.window[1].start)

    def polygons(self, tolerance: float) -> tuple[Polygon, ...]:
        """Return the polygons of the lesion, one for each connected region; see ``trace``."""
        return trace(self.region, tolerance, self.corner)

    @property
    def mask(self) -> Mask:
        """Mask of the image's size, which is made on each access: a scan with thousands of small regions would fill the memory."""
        if self.window is None:
            return self.region
        whole = np.zeros(self.size, bool)
        whole[self.window] = self.region
        return whole


@dataclass(frozen=True, eq=False)
class OutlinedScan:
    """A scan with its outlines, as annotation files contain it.

    Attributes:
        name: Path of the image for the annotation file.
        size: Height and width.
        outlines: Outlines of the lesions; None when the mask is unknown.
        keys: Label, group, part and spacing, where they are known.
    """

    name: str
    size: tuple[int, int]
    outlines: tuple[Outline, ...] | None
    keys: Mapping[str, Any] = field(default_factory=dict)


def outlines_of(sample: Sample, size: tuple[int, int], resize: bool) -> tuple[Outline, ...] | None:
    """Return the outlines of a sample: those of its annotation files, and the connected regions of its mask files."""
    if not sample.masks:
        return None
    found: list[Outline] = []
    files = [mask for mask in sample.masks if not isinstance(mask, LesionMask)]
    for mask in sample.masks:
        if isinstance(mask, LesionMask) and (drawn := read_mask([mask], size, resize)).any():
            found.append(Outline(mask.label or sample.label or LESION, drawn))
    regions = components(read_mask(files, size, resize)) if files else ()
    found += [Outline(sample.label or LESION, region, window=window, size=size) for window, region in regions]
    return tuple(found)


def with_parts(dataset: Dataset, split: Iterable[Dataset] | None) -> Dataset:
    """Return the data set with the parts and groups of a split.

    Raises:
        OptionError: A sample is in no part of the split.
    """
    if split is None:
        return dataset
    placed = {one.id: replace(one, part=name) for name, part in zip(PARTS, split, strict=True) for one in part}
    missing = [one for one in dataset.ids if one not in placed]
    if missing:
        raise OptionError(f"split: has no part for {missing[0]} of {dataset.name} (nor for {len(missing) - 1} others).")
    return replace(dataset, samples=tuple(placed[one] for one in dataset.ids))


def read_pixels(sample: Sample) -> tuple[Sample, Pixels]:
    """Return a sample and its pixels; if it has no spacing, it gets that of its DICOM file, if all regions of the scan have one."""
    scan = read_sample_scan(sample.image)
    spacings = {area.spacing for area in scan.areas}
    known = sample if sample.spacing or len(spacings) > 1 else replace(sample, spacing=spacings.pop())
    return known, scan.pixels


def scan_of(sample: Sample, name: str, size: tuple[int, int], resize: bool) -> OutlinedScan:
    """Return a sample with its outlines."""
    return OutlinedScan(name, size, outlines_of(sample, size, resize), own_keys(sample))


def image_names(dataset: Dataset, *, suffix: str | None = None) -> dict[str, str]:
    """Return the path of each sample's image in a written folder, by the sample's id.

    Args:
        dataset: The data set.
        suffix: Suffix of all images; without one they keep theirs, and DICOM, NIfTI and arrays become PNG.

    Raises:
        OptionError: Two images would have the same path but for the suffix.
    """
    names = {}
    for sample in dataset:
        parts = [part for part in PurePosixPath(sample.id).parts if part not in ("/", "..")]
        stem = "/".join(parts)
        ending = sample.image.suffix
        stem = stem[: -len(ending)] if ending and stem.lower().endswith(ending.lower()) else stem
        names[sample.id] = stem + (suffix or (ending if ending.lower() in SUFFIXES else ".png"))
    counts = Counter(name.rpartition(".")[0].lower() for name in names.values())
    twice = [one for one, name in names.items() if counts[name.rpartition(".")[0].lower()] > 1]
    if twice:
        raise OptionError(f"{dataset.name}: {twice[0]} and {twice[1]} have one name without their suffix. Rename one of them.")
    return names


def image_file(sample: Sample, name: str, pixels: Pixels) -> bytes:
    """Return the content of an image file: the sample's own file where it keeps its suffix, else a PNG file."""
    if name.endswith(sample.image.suffix) and sample.image.suffix.lower() in SUFFIXES:
        return sample.image.read_bytes()
    return png_file(pixels)


def png_file(pixels: Pixels) -> bytes:
    """Return pixels as a PNG file: of 8 bits, or gray of 16 bits where 8 are not enough."""
    deep = pixels.dtype != np.uint8 and pixels.ndim == 2
    buffer = io.BytesIO()
    Image.fromarray((pixels * DEEP + 0.5).astype(np.uint16) if deep else to_uint8(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def json_file(value: Any) -> bytes:
    """Return a value as a JSON file."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def check_earlier(folder: Path, files: Iterable[str], is_read: Callable[[str], bool]) -> None:
    """Raise an error if a folder has files of an earlier data set that would remain and be read as part of the new one.

    Their scans may be in another part of the new data set, so that training and test scans would be the same.

    Args:
        folder: The folder.
        files: Paths below the folder of the files that are replaced.
        is_read: Function that returns whether a path below the folder is one of the format.

    Raises:
        OutputExistsError: There are such files.
    """
    listing = Listing(folder)
    earlier = [*listing.images, *listing.annotations] if folder.is_dir() else []
    if left := sorted(set(filter(is_read, earlier)).difference(files)):
        raise OutputExistsError(
            f"{folder}: {name_some(left, 1)} would remain and be read with this data set. Remove the folder, or choose another."
        )


def write_all(folder: Path, names: Iterable[str], contents: Iterator[tuple[str, bytes]], *, overwrite: bool) -> list[Path]:
    """Write files below a folder one after another, after it is checked that all are free."""
    check_free((folder / name for name in names), overwrite=overwrite)
    return [write_whole(folder / name, content, overwrite=overwrite) for name, content in contents]
