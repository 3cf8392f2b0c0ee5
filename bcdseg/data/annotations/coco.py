"""COCO's format: one JSON file with images, annotations and categories; polygons and run lengths.

The keys ``label``, ``group``, ``split``, ``spacing``, ``facts``, ``path`` and ``annotated`` of an image are this library's own;
other programs ignore them. ``annotated`` states that an image without annotations shows no lesion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.data.annotations.outlines import (
    LESION,
    Outline,
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
from bcdseg.data.annotations.own_keys import known_values
from bcdseg.data.annotations.samples import IMAGE_FOLDER, AnnotatedImage, check_size, load_json, samples_of, starts_with_key
from bcdseg.data.annotations.shapes import check_polygon, decode_coco, encode_coco, lesion_of
from bcdseg.data.labels import class_order
from bcdseg.data.layouts.listing import PARTS, FolderListing, Listing
from bcdseg.errors import DatasetError, InputError, OptionError
from bcdseg.types import LesionMask

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

NEEDED = ("images", "annotations", "categories")
FIRST_KEYS = ("info", "licenses", *NEEDED)
SEGMENTATIONS = ("rle", "polygons")


def recognise(listing: Listing) -> bool:
    """Return whether there is a JSON file of COCO's keys."""
    return bool(_files(listing))


def read(listing: Listing) -> FolderListing:
    """Read the images of all COCO files; ``instances_train.json`` or the folder ``train/`` is a part of a split."""
    files = _files(listing)
    if not files:
        raise DatasetError(f"{listing.root}: has no JSON file with the keys {', '.join(NEEDED)}.")
    problems: list[str] = []
    images = [image for file in files for image in _images(file, problems)]
    return samples_of(images, listing, problems)


def _files(listing: Listing) -> list[Path]:
    names = [name for name in listing.annotations if name.lower().endswith(".json")]
    return [path for path in map(listing.path, names) if _has_keys(path)]


def _has_keys(path: Path) -> bool:
    """Return whether the first key of a file is one of COCO's; ``info`` and ``licenses`` are also those of other files."""
    if starts_with_key(path, NEEDED):
        return True
    return starts_with_key(path, FIRST_KEYS) and all(f'"{key}"'.encode() in path.read_bytes() for key in NEEDED)


def _images(file: Path, problems: list[str]) -> Iterator[AnnotatedImage]:
    content = load_json(file)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in NEEDED):
        raise DatasetError(f"{file}: needs the lists {', '.join(NEEDED)} of COCO's format.")
    images: dict[Any, AnnotatedImage] = {}
    try:
        categories = _categories(content["categories"])
        for entry in content["images"]:
            image = _image(entry, file)
            if images.setdefault(entry["id"], image).name != image.name:
                raise InputError(f"two images have the id {entry['id']}. Give each image an id of its own")
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{file}: an image or a category has no {error}. Export the annotations again.") from error
    except InputError as error:
        raise DatasetError(f"{file}: {error}.") from error
    damaged = set()
    for entry in content["annotations"]:
        try:
            _add(entry, images, categories, file)
        except InputError as error:
            problems.append(f"{file}: {error}")
            damaged.add(entry.get("image_id") if isinstance(entry, dict) else None)
    yield from (image for key, image in images.items() if key not in damaged)


def _categories(entries: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """Return the names of the categories by their ids."""
    names: dict[Any, str] = {}
    for entry in entries:
        if names.setdefault(entry["id"], str(entry["name"])) != str(entry["name"]):
            raise InputError(f"two categories have the id {entry['id']}. Give each category an id of its own")
    return names


def _image(entry: Mapping[str, Any], file: Path) -> AnnotatedImage:
    name, path = str(entry["file_name"]), entry.get("path")
    if isinstance(path, str) and (file.parent / path).is_file():
        name = path
    words = file.stem.lower().replace("-", "_").split("_")
    image = AnnotatedImage(
        file=file,
        name=name,
        size=check_size(entry["height"], entry["width"], f"image {name}"),
        outlined=entry.get("annotated") is True,
        part=next((PARTS[word] for word in words if word in PARTS), None),
    )
    return replace(image, **known_values(entry))


def _add(entry: Any, images: Mapping[Any, AnnotatedImage], categories: Mapping[Any, str], file: Path) -> None:
    """Add an annotation to its image."""
    what = f"annotation {entry.get('id') if isinstance(entry, dict) else entry!r}"
    if not isinstance(entry, dict) or entry.get("image_id") not in images:
        raise InputError(f"{what}: its image_id is not one of the file's images")
    if entry.get("category_id") not in categories:
        raise InputError(f"{what}: its category_id is not one of the file's categories")
    image, label = images[entry["image_id"]], categories[entry["category_id"]]
    segmentation = entry.get("segmentation")
    if segmentation:
        image.lesions.append(_lesion(segmentation, image.size, label, file, what))
    else:
        image.boxes.append(label)


def _lesion(segmentation: Any, size: tuple[int, int], label: str, file: Path, what: str) -> LesionMask:
    if isinstance(segmentation, list):
        polygons = tuple(check_polygon(one if isinstance(one, list) else [None], what, size) for one in segmentation)
        return LesionMask(file=file, size=size, label=label, polygons=polygons)
    if not isinstance(segmentation, dict) or list(segmentation.get("size", ())) != list(size):
        raise InputError(f"{what}: its segmentation is neither polygons nor run lengths of {size[0]} x {size[1]} pixels")
    counts = segmentation.get("counts")
    if not isinstance(counts, (str, list)):
        raise InputError(f"{what}: its run lengths are {type(counts).__name__}, not text or numbers")
    try:
        return lesion_of(decode_coco(counts, size), file, label)
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


def entry_of(scan: OutlinedScan, segmentation: str, tolerance: float = 0.0) -> dict[str, Any]:
    """Return the image and the annotations of one outlined scan, whose ids ``document`` gives.

    Args:
        scan: The scan.
        segmentation: ``"rle"`` for run lengths, which have exactly the pixels of the masks; ``"polygons"`` for polygons, which
            annotation tools can edit.
        tolerance: Largest deviation of simplified polygons, in pixels.
    """
    height, width = scan.size
    known = {} if scan.outlines is None else {"annotated": True}
    annotations = []
    for outline in scan.outlines or ():
        rows, columns = np.flatnonzero(outline.region.any(axis=1)), np.flatnonzero(outline.region.any(axis=0))
        top, left = outline.corner[0] + int(rows[0]), outline.corner[1] + int(columns[0])
        annotation = {
            "category": outline.label,
            "segmentation": _segmentation(outline, segmentation, tolerance),
            "bbox": [left, top, int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1],
            "area": int(outline.region.sum()),
            "iscrowd": 0,
        }
        annotations.append(annotation if outline.score is None else {**annotation, "score": outline.score})
    return {"image": {"file_name": scan.name, "width": width, "height": height, **scan.keys, **known}, "annotations": annotations}


def document(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of a COCO file: the entries of its scans, with ids and categories."""
    used = {annotation["category"] for entry in entries for annotation in entry["annotations"]}
    categories = {name: number for number, name in enumerate(sorted(used, key=class_order) or [LESION], start=1)}
    images = [{"id": number, **entry["image"]} for number, entry in enumerate(entries, start=1)]
    annotations = [
        {"image_id": number, "category_id": categories[annotation["category"]], **annotation}
        for number, entry in enumerate(entries, start=1)
        for annotation in entry["annotations"]
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
        del annotation["category"]
    named = [{"id": number, "name": name, "supercategory": LESION} for name, number in categories.items()]
    return {"info": {"description": "Written by bcdseg"}, "images": images, "annotations": annotations, "categories": named}


def write(
    dataset: Dataset,
    folder: Path,
    *,
    split: Iterable[Dataset] | None,
    segmentation: str,
    tolerance: float,
    overwrite: bool,
) -> list[Path]:
    """Write a data set in COCO's format; see ``Dataset.to_coco``."""
    if segmentation not in SEGMENTATIONS:
        raise OptionError(f"segmentation={segmentation!r}: choose one of {', '.join(map(repr, SEGMENTATIONS))}.")
    dataset = with_parts(dataset, split)
    names = image_names(dataset)
    parts = {part: f"annotations/instances_{part or 'all'}.json" for part in dict.fromkeys(sample.part for sample in dataset)}
    entries: dict[str | None, list[dict[str, Any]]] = {part: [] for part in parts}

    def contents() -> Iterator[tuple[str, bytes]]:
        for each in dataset:
            sample, pixels = read_pixels(each)
            scan = scan_of(sample, names[sample.id], (pixels.shape[0], pixels.shape[1]), dataset.resize_masks)
            entries[sample.part].append(entry_of(scan, segmentation, tolerance))
            yield f"{IMAGE_FOLDER}/{names[sample.id]}", image_file(sample, names[sample.id], pixels)
        for part, name in parts.items():
            yield name, json_file(document(entries[part]))

    files = [*(f"{IMAGE_FOLDER}/{name}" for name in names.values()), *parts.values()]
    earlier = (f"{IMAGE_FOLDER}/", "annotations/instances_")
    if overwrite:
        check_earlier(folder, files, lambda name: name.startswith(earlier))
    return write_all(folder, files, contents(), overwrite=overwrite)


def _segmentation(outline: Outline, segmentation: str, tolerance: float) -> Any:
    if segmentation == "rle":
        return encode_coco(outline.mask)
    return [[value for point in polygon.corners() for value in point] for polygon in outline.polygons(tolerance)]
