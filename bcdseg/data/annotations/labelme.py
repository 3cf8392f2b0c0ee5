"""LabelMe's format: one JSON file per image, with shapes.

The flags of an image are its class where one is set. The keys ``group``, ``split`` and ``spacing`` are this library's own;
LabelMe keeps them.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from bcdseg.data.annotations.outlines import (
    OutlinedScan,
    check_earlier,
    image_file,
    image_names,
    json_file,
    read_pixels,
    scan_of,
    with_parts,
    write_all,
)
from bcdseg.data.annotations.own_keys import known_values, own_keys
from bcdseg.data.annotations.samples import AnnotatedImage, check_size, load_json, samples_of, starts_with_key, warn_of
from bcdseg.data.annotations.shapes import check_polygon, ellipse, place
from bcdseg.data.layouts.listing import FolderListing, Listing
from bcdseg.errors import DatasetError, InputError
from bcdseg.types import LesionMask

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

FIRST_KEYS = ("version", "flags", "shapes", "lineColor", "fillColor", "imagePath", "imageData", "imageHeight", "imageWidth")
SHAPES = "shapes"
VERSION = "5.5.0"  # the version of the format, which is that of a release of LabelMe
BOX = "rectangle"
NO_AREA = ("line", "linestrip", "point", "points")


def recognise(listing: Listing) -> bool:
    """Return whether there is a JSON file whose first keys are LabelMe's."""
    return bool(_files(listing))


def read(listing: Listing) -> FolderListing:
    """Read the images of all LabelMe files. Lines and points are not lesions; a rectangle is a box and not an outline.

    The mask of a scan with lines or points alone is unknown: they may mark a lesion.
    """
    files = _files(listing)
    if not files:
        raise DatasetError(f"{listing.root}: has no JSON file of LabelMe.")
    images, problems = [], []
    for file in files:
        try:
            images.append(_image(load_json(file), file))
        except DatasetError as error:
            problems.append(str(error))
        except InputError as error:
            problems.append(f"{file}: {error}")
    return samples_of(images, listing, problems)


def _files(listing: Listing) -> list[Path]:
    return [path for path in map(listing.path, listing.annotations) if _is_labelme(path)]


def _is_labelme(path: Path) -> bool:
    return path.suffix.lower() == ".json" and starts_with_key(path, FIRST_KEYS, SHAPES)


def _image(content: Any, file: Path) -> AnnotatedImage:
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list) or not content.get("imagePath"):
        raise InputError("needs 'shapes' and 'imagePath' of LabelMe's format")
    flags = content.get("flags")
    labels = [name for name, is_set in flags.items() if is_set is True] if isinstance(flags, dict) else []
    image = AnnotatedImage(
        file=file,
        name=str(content["imagePath"]),
        size=check_size(content.get("imageHeight"), content.get("imageWidth"), "the image"),
        outlined=True,
        label=labels[0] if len(labels) == 1 else None,
    )
    joint: dict[tuple[str, Any], LesionMask] = {}
    for number, shape in enumerate(content["shapes"], start=1):
        _add(shape, f"shape {number}", image, joint)
    image.lesions += joint.values()
    marked = any((shape.get("shape_type") or "") in NO_AREA for shape in content["shapes"])
    return replace(image, outlined=bool(image.lesions) or not marked, **known_values(content))


def _add(shape: Any, what: str, image: AnnotatedImage, joint: dict[tuple[str, Any], LesionMask]) -> None:
    """Add a shape to its image; polygons with one label and one group number are one lesion."""
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not isinstance(shape.get("points"), list):
        raise InputError(f"{what}: needs 'label' and 'points'")
    kind, label = shape.get("shape_type") or "polygon", shape["label"]
    if kind == BOX:
        image.boxes.append(label)
    elif kind == "mask":
        image.lesions.append(_bitmap(shape, what, image))
    elif kind in ("polygon", "circle"):
        polygon = _polygon(shape["points"], kind, what, image.size)
        key = (label, shape["group_id"] if shape.get("group_id") is not None else what)
        before = joint[key].polygons if key in joint else ()
        joint[key] = LesionMask(file=image.file, size=image.size, label=label, polygons=(*before, polygon))
    elif kind not in NO_AREA:
        raise InputError(f"{what}: its shape_type {kind!r} is unknown")


def _polygon(points: Any, kind: str, what: str, size: tuple[int, int]) -> tuple[float, ...]:
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise InputError(f"{what}: a point is not x and y")
    if kind == "polygon":
        return check_polygon([value for point in points for value in point], what, size)
    values = [value for point in points for value in point]
    if len(values) != 4 or not all(isinstance(value, (int, float)) for value in values):
        raise InputError(f"{what}: a circle has its centre and one point")
    radius = math.dist(values[:2], values[2:])
    return check_polygon(ellipse((values[0], values[1]), (radius, radius)), what, size)


def _bitmap(shape: Mapping[str, Any], what: str, image: AnnotatedImage) -> LesionMask:
    """Return the lesion of a shape of the type ``mask``, whose pixels are a PNG file in base64 at the first point."""
    try:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=("PNG",)).convert("L")) > 0
        left, top = (round(float(value)) for value in shape["points"][0])
    except (KeyError, TypeError, ValueError, IndexError, binascii.Error, UnidentifiedImageError, OSError):
        raise InputError(f"{what}: its mask is not a PNG file in base64 with its position") from None
    return place(pixels, (top, left), image, shape["label"], what)


def document(scan: OutlinedScan, image_path: str, tolerance: float = 0.0) -> dict[str, Any]:
    """Return an outlined scan as the content of a LabelMe file.

    Args:
        scan: The scan.
        image_path: Path of the image from the folder of the file.
        tolerance: Largest deviation of simplified polygons, in pixels.
    """
    shapes: list[dict[str, Any]] = []
    for number, outline in enumerate(scan.outlines or (), start=1):
        polygons = outline.polygons(tolerance)
        for polygon in polygons:
            shapes.append(
                {
                    "label": outline.label,
                    "points": [list(point) for point in polygon.corners()],
                    "group_id": number if len(polygons) > 1 else None,
                    "description": "" if outline.score is None else f"probability {outline.score:.3f}",
                    "shape_type": "polygon",
                    "flags": {},
                }
            )
    label = scan.keys.get("label")
    return {
        "version": VERSION,
        "flags": {} if label is None else {label: True},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": scan.size[0],
        "imageWidth": scan.size[1],
        **{name: value for name, value in scan.keys.items() if name != "label"},
    }


def write(dataset: Dataset, folder: Path, *, split: Iterable[Dataset] | None, tolerance: float, overwrite: bool) -> list[Path]:
    """Write a data set in LabelMe's format; see ``Dataset.to_labelme``."""
    dataset = with_parts(dataset, split)
    names = image_names(dataset)
    known = {sample.id: f"{names[sample.id].rpartition('.')[0]}.json" for sample in dataset if sample.masks}

    def contents() -> Iterator[tuple[str, bytes]]:
        for each in dataset:
            sample, pixels = read_pixels(each)
            name = names[sample.id]
            yield name, image_file(sample, name, pixels)
            if sample.id in known:
                scan = scan_of(sample, name, (pixels.shape[0], pixels.shape[1]), dataset.resize_masks)
                yield known[sample.id], json_file(document(scan, name.rpartition("/")[2], tolerance))

    unknown = [sample.id for sample in dataset if sample.id not in known and own_keys(sample)]
    if unknown:
        warn_of(Path(dataset.name), unknown, "have no mask and get no annotation file: their labels and groups are not written")
    files = [*names.values(), *known.values()]
    if overwrite:
        check_earlier(folder, files, lambda name: _is_labelme(folder / name))
    return write_all(folder, files, contents(), overwrite=overwrite)
