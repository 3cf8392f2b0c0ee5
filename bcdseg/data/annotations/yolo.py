"""YOLO's format of segmentation: one text file per image, with a class number and a polygon in each line.

The coordinates are fractions of the image. The classes are in ``data.yaml`` (its ``names``) or ``classes.txt``. An empty text file
states that the image shows no lesion.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image, UnidentifiedImageError

from bcdseg.data.annotations.outlines import (
    LESION,
    OutlinedScan,
    check_earlier,
    image_file,
    image_names,
    read_pixels,
    scan_of,
    with_parts,
    write_all,
)
from bcdseg.data.annotations.own_keys import CASES, cases_file, known_values, read_cases
from bcdseg.data.annotations.samples import IMAGE_FOLDER, AnnotatedImage, samples_of, warn_of
from bcdseg.data.annotations.shapes import check_polygon
from bcdseg.data.images import read_image
from bcdseg.data.labels import USUAL_ORDER, class_order
from bcdseg.data.layouts.listing import PARTS, FolderListing, Listing
from bcdseg.errors import BcdsegError, DatasetError, InputError
from bcdseg.extras import require
from bcdseg.types import LesionMask, Sample

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

LABEL_FOLDER = "labels"
CLASSES = ("classes.txt", "obj.names")
BOX_NUMBERS = 5
MARGIN = 0.01  # largest distance of a coordinate outside of the image, as in Ultralytics


def recognise(listing: Listing) -> bool:
    """Return whether classes are named in YOLO's way, and an image has a text file."""
    if _names_file(listing) is None:
        return False
    texts = _texts(listing)
    return any(_labels_of(name) in texts for name in listing.images)


def read(listing: Listing) -> FolderListing:
    """Read the images that have a text file; ``train``, ``val`` and ``test`` of ``data.yaml``, or the folders, are the parts."""
    file = _names_file(listing)
    if file is None:
        raise DatasetError(f"{listing.root}: has neither a data.yaml with 'names' nor a {CLASSES[0]}, which name YOLO's classes.")
    content = _yaml(file) if file.suffix.lower() in (".yaml", ".yml") else {"names": _text(file).splitlines()}
    names = _names(content["names"], file)
    texts, folders, cases = _texts(listing), _folders(content, file, listing), read_cases(listing.root)
    innermost_first = sorted(folders, key=len, reverse=True)
    images, problems = [], []
    for name in listing.images:
        text = _labels_of(name)
        if text not in texts and name not in cases:
            continue
        part = next((folders[folder] for folder in innermost_first if name.startswith(folder)), None)
        try:
            image = _image(name, listing.path(name), listing.path(texts[text]) if text in texts else None, names, part)
            images.append(replace(image, **known_values(cases.get(name, {}))))
        except BcdsegError as error:
            problems.append(str(error))
    if alone := sorted(texts[text] for text in texts.keys() - set(map(_labels_of, listing.images)) if _is_label(texts[text])):
        warn_of(listing.root, alone, "have a text file and no image file: they are left out")
    return samples_of(images, listing, problems)


def _names_file(listing: Listing) -> Path | None:
    files = sorted(listing.annotations, key=lambda name: name.count("/"))
    yamls = [listing.path(name) for name in files if name.lower().endswith((".yaml", ".yml"))]
    found = next((path for path in yamls if b"names" in path.read_bytes()), None)
    return found or next((listing.path(name) for name in files if name.lower().rpartition("/")[2] in CLASSES), None)


def _texts(listing: Listing) -> dict[str, str]:
    """Return the text files by their names with the suffix in lower case."""
    if listing.annotation:
        listing = Listing(listing.root)
    return {name[:-4] + ".txt": name for name in listing.annotations if name.lower().endswith(".txt")}


def _is_label(text: str) -> bool:
    """Return whether a text file is in a folder of labels, and does not name the classes."""
    *folders, name = text.split("/")
    return LABEL_FOLDER in folders and name.lower() not in CLASSES


def _labels_of(name: str) -> str:
    """Return the text file of an image: in the folder ``labels`` in place of the last ``images``, or next to the image."""
    folders = name.rpartition(".")[0].split("/")
    for at in range(len(folders) - 2, -1, -1):
        if folders[at] == IMAGE_FOLDER:
            folders[at] = LABEL_FOLDER
            break
    return "/".join(folders) + ".txt"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{file}: is not UTF-8 text. Save it as UTF-8.") from None


def _yaml(file: Path) -> Mapping[str, Any]:
    yaml = require("yaml", extra="train", purpose=f"Reading {file.name}")
    try:
        content = yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        raise DatasetError(f"{file}: is not valid YAML ({error}).") from error
    if not isinstance(content, dict) or "names" not in content:
        raise DatasetError(f"{file}: has no 'names' of the classes.")
    return content


def _names(names: Any, file: Path) -> Mapping[int, str]:
    if isinstance(names, dict) and all(isinstance(number, int) for number in names):
        return {number: str(name) for number, name in names.items()}
    if isinstance(names, list):
        return {number: str(name).strip() for number, name in enumerate(names)}
    raise DatasetError(f"{file}: 'names' is neither a list of classes nor a mapping from numbers to classes.")


def _folders(content: Mapping[str, Any], file: Path, listing: Listing) -> dict[str, str]:
    """Return the parts of the folders that ``data.yaml`` names."""
    start = Path(file.parent, *([str(content["path"])] if content.get("path") else []))
    found = {}
    for part in dict.fromkeys(PARTS):
        values = content.get(part) or []
        for value in values if isinstance(values, list) else [values]:
            if str(value).lower().endswith(".txt"):
                raise DatasetError(f"{file}: {part}: {value}: lists of files are not read. Name a folder.")
            for folder in (start / str(value), file.parent / str(value)):
                if folder.is_dir() and listing.root.resolve() in folder.resolve().parents:
                    found[folder.resolve().relative_to(listing.root.resolve()).as_posix() + "/"] = PARTS[part]
    return found


def _image(name: str, path: Path, text: Path | None, names: Mapping[int, str], part: str | None) -> AnnotatedImage:
    """Return an image with the lesions in its text file; without one, its mask is unknown."""
    image = AnnotatedImage(file=text or path, name=name, size=_size(path), outlined=text is not None, part=part)
    if text is None:
        return image
    for number, line in enumerate(_text(text).splitlines(), start=1):
        if line.strip():
            _add(line.split(), f"{text}: line {number}", names, image)
    return image


def _add(words: Sequence[str], what: str, names: Mapping[int, str], image: AnnotatedImage) -> None:
    if not words[0].isdecimal() or int(words[0]) not in names:
        raise InputError(f"{what}: the class {words[0]!r} is not one of the {len(names)} classes")
    label = names[int(words[0])]
    if len(words) == BOX_NUMBERS:
        image.boxes.append(label)
        return
    fractions = check_polygon(words[1:], what)
    if not all(-MARGIN <= value <= 1 + MARGIN for value in fractions):
        raise InputError(f"{what}: a coordinate is not a fraction of the image, from 0 to 1")
    height, width = image.size
    polygon = tuple(value * side for value, side in zip(fractions, (width, height) * (len(fractions) // 2), strict=True))
    image.lesions.append(LesionMask(file=image.file, size=image.size, label=label, polygons=(polygon,)))


def _size(path: Path) -> tuple[int, int]:
    """Return the height and width of an image, from its header where Pillow reads it; its EXIF orientation is applied."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except (UnidentifiedImageError, OSError):
        height, width = read_image(path).shape[:2]
        return height, width


def write(dataset: Dataset, folder: Path, *, split: Iterable[Dataset] | None, tolerance: float, overwrite: bool) -> list[Path]:
    """Write a data set in YOLO's format; see ``Dataset.to_yolo``."""
    dataset = with_parts(dataset, split)
    names = {sample.id: f"{IMAGE_FOLDER}/{sample.part or PARTS['train']}/{name}" for sample, name in _named(dataset)}
    texts = {sample.id: _labels_of(names[sample.id]) for sample in dataset if sample.masks}
    lesions = {mask.label for sample in dataset for mask in sample.masks if isinstance(mask, LesionMask) and mask.label}
    scans = {sample.label or LESION for sample in dataset if sample.masks and sample.label != USUAL_ORDER[0]}
    classes = sorted(scans | lesions, key=class_order)
    folders = {part: f"{IMAGE_FOLDER}/{part}" for part in dict.fromkeys(sample.part or PARTS["train"] for sample in dataset)}

    def contents() -> Iterator[tuple[str, bytes]]:
        cases: dict[str, Sample] = {}
        for each in dataset:
            sample, pixels = read_pixels(each)
            name = names[sample.id]
            cases[name] = sample
            yield name, image_file(sample, name, pixels)
            if sample.id in texts:
                scan = scan_of(sample, name, (pixels.shape[0], pixels.shape[1]), dataset.resize_masks)
                yield texts[sample.id], _lines(scan, classes, tolerance)
        yield CASES, cases_file(cases)
        yield "data.yaml", _data_yaml(folders, classes)

    files, earlier = [*names.values(), *texts.values(), CASES, "data.yaml"], (f"{IMAGE_FOLDER}/", f"{LABEL_FOLDER}/")
    if overwrite:
        check_earlier(folder, files, lambda name: name.startswith(earlier))
    return write_all(folder, files, contents(), overwrite=overwrite)


def _named(dataset: Dataset) -> Iterator[tuple[Sample, str]]:
    names = image_names(dataset)
    return ((sample, names[sample.id]) for sample in dataset)


def _lines(scan: OutlinedScan, classes: list[str], tolerance: float) -> bytes:
    """Return one line per polygon, and append classes that are new; a lesion of several pieces has several lines."""
    height, width = scan.size
    lines = []
    for outline in scan.outlines or ():
        for polygon in outline.polygons(tolerance):
            values = (f"{x / width:.8g} {y / height:.8g}" for x, y in polygon.corners())
            if outline.label not in classes:
                classes.append(outline.label)
            lines.append(f"{classes.index(outline.label)} {' '.join(values)}\n")
    return "".join(lines).encode()


def _data_yaml(folders: Mapping[str, str], classes: Sequence[str]) -> bytes:
    """Return ``data.yaml``; JSON text is YAML too."""
    lines = [f"{part}: {folder}" for part, folder in folders.items()]
    lines += ["names:", *(f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(classes))]
    return ("\n".join(lines) + "\n").encode()
