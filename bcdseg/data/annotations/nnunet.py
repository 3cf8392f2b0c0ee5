"""nnU-Net's raw format: ``dataset.json``, ``imagesTr/CASE_0000.png``, ``labelsTr/CASE.png``, also with NIfTI files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcdseg.data.annotations.nifti import nifti_spacing
from bcdseg.data.annotations.outlines import (
    LESION,
    check_earlier,
    image_names,
    json_file,
    png_file,
    read_pixels,
    scan_of,
    with_parts,
    write_all,
)
from bcdseg.data.annotations.own_keys import CASES, cases_file, known_values, read_cases
from bcdseg.data.annotations.samples import SEVERAL, load_json, warn_of
from bcdseg.data.annotations.shapes import lesion_of
from bcdseg.data.images import to_gray
from bcdseg.data.labels import USUAL_ORDER, class_order
from bcdseg.data.layouts.listing import FolderListing, Listing
from bcdseg.data.masks import mask_values
from bcdseg.errors import BcdsegError, DatasetError, InputError
from bcdseg.sources import is_nifti
from bcdseg.types import LesionMask, MaskSource, Sample

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

FILE, ENDING = "dataset.json", ".png"
FOLDERS = {"imagesTr": ("labelsTr", "train"), "imagesVal": ("labelsVal", "val"), "imagesTs": ("labelsTs", "test")}
"""Folders of images, with those of their labels and the part of a split."""

CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
BACKGROUND, IGNORE, REGION = "background", "ignore", "lesion"


@dataclass(frozen=True)
class Labels:
    """The labels of a data set: classes of lesions by their values in label images, and the value of what is left out, or None."""

    classes: Mapping[int, str]
    ignored: int | None

    @property
    def are_classes(self) -> bool:
        """Whether the labels are classes of lesions, and not only their name."""
        names = set(self.classes.values())
        return len(names) > 1 or names <= set(USUAL_ORDER)


def recognise(listing: Listing) -> bool:
    """Return whether there is a ``dataset.json`` next to a folder ``imagesTr`` or ``imagesTs``."""
    return _root(listing) is not None


def read(listing: Listing) -> FolderListing:
    """Read the images of ``imagesTr`` (part ``train``), ``imagesVal`` (``val``) and ``imagesTs`` (``test``).

    Where labels are classes of lesions, the label images are decoded, and a scan's label is the class in it.
    """
    root = _root(listing)
    if root is None:
        raise DatasetError(f"{listing.root}: has no {FILE} next to a folder {' or '.join(FOLDERS)}.")
    labels = read_labels(root / FILE)
    start = root.relative_to(listing.root).as_posix()
    start = "" if start == "." else f"{start}/"
    images = [name.removeprefix(start) for name in Listing(listing.root).images if name.startswith(start)]
    cases, found = read_cases(root), FolderListing()
    for name in images:
        try:
            sample = _sample(root, name, frozenset(images), labels)
        except BcdsegError as error:
            found.problems.append(str(error))
            continue
        if sample is not None:
            found.samples.append(replace(sample, id=start + name, **known_values(cases.get(name, {}))))
    several = [one.id for one in found.samples if any(isinstance(mask, LesionMask) for mask in one.masks)]
    partly = [one.id for one in found.samples if not one.masks and one.part == "train"]
    for ids, text in (
        (several, SEVERAL),
        (partly, "are partly annotated (label 'ignore'): their mask is unknown"),
        (_without_image(images), "have a label image and no image file: they are left out"),
    ):
        if ids:
            warn_of(listing.root, ids, text)
    return found


def _without_image(names: Sequence[str]) -> list[str]:
    """Return the label images that belong to no image."""
    label_folders = {labels for labels, _ in FOLDERS.values()}
    cases, found = set(), {}
    for name in names:
        folder, _, file = name.partition("/")
        stem = _split_ending(file)[0]
        if folder in FOLDERS:
            cases.add((FOLDERS[folder][0], stem.rpartition("_")[0]))
        elif folder in label_folders:
            found[folder, stem] = name
    return [name for case, name in found.items() if case not in cases]


def read_labels(file: Path) -> Labels:
    """Return the labels in a ``dataset.json``, of nnU-Net 2 (names to values) or 1 (values to names).

    Raises:
        DatasetError: The file has no labels.
    """
    content = load_json(file)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise DatasetError(f"{file}: has no 'labels'.")
    regions: dict[str, frozenset[int]] = {}
    ignored = None
    for first, second in labels.items():
        name, values = (str(second), [first]) if first.isdecimal() else (first, second if isinstance(second, list) else [second])
        if not all(str(value).isdecimal() for value in values):
            raise DatasetError(f"{file}: its label {name!r} has the value {second!r}. Give a whole number, or a list of them.")
        if name.lower() == IGNORE:
            ignored = int(values[0])
        elif name.lower() != BACKGROUND:
            regions[name] = frozenset(map(int, values)) - {0}
    if not any(regions.values()):
        raise DatasetError(f"{file}: its 'labels' name no lesion besides the background.")
    return Labels(_classes(regions), ignored)


def _classes(regions: Mapping[str, frozenset[int]]) -> dict[int, str]:
    """Return the class of each value of a label image.

    Of region-based labels, where a name has a list of values, a value's class is the name that it has alone. If a value has none,
    the regions are parts of a lesion (its whole and its core) and no classes, so that all values are one lesion.
    """
    alone = {value: name for name, values in regions.items() if len(values) == 1 for value in values}
    together = {value for values in regions.values() for value in values}
    return alone if alone.keys() == together else dict.fromkeys(together, REGION)


def _root(listing: Listing) -> Path | None:
    """Return the folder of the first ``dataset.json`` that has a folder of images next to it."""
    files = [listing.path(name) for name in listing.annotations if name.rpartition("/")[2] == FILE]
    return next((file.parent for file in files if any((file.parent / folder).is_dir() for folder in FOLDERS)), None)


def _sample(root: Path, name: str, images: frozenset[str], labels: Labels) -> Sample | None:
    """Return the sample of an image, or None for a file that is not one."""
    folder, _, file = name.partition("/")
    stem, ending = _split_ending(file)
    match = CHANNEL.match(stem)
    if folder not in FOLDERS:
        return None
    if match is None or f"{folder}/{match['case']}_0001{ending}" in images:
        problem = "its name does not end in _0000" if match is None else "has several channels, and one image of a scan is read"
        raise InputError(f"{root / name}: {problem}")
    label_folder, part = FOLDERS[folder]
    label = f"{label_folder}/{match['case']}{ending}"
    path = root / name
    if label not in images:
        if part == "train":
            raise InputError(f"{path}: its label image {label} is missing")
        masks: tuple[MaskSource, ...] = ()
        name_of_class = None
    else:
        masks, name_of_class = _masks(root / label, labels)
    spacing = nifti_spacing(path) if is_nifti(path) else None
    return Sample(id=name, image=path, masks=masks, label=name_of_class, part=part, spacing=spacing)


def _split_ending(file: str) -> tuple[str, str]:
    """Return the stem and the ending of a file; ``.nii.gz`` counts as one ending."""
    stem, _, suffix = file.rpartition(".")
    if suffix.lower() == "gz":
        stem, _, before = stem.rpartition(".")
        suffix = f"{before}.{suffix}"
    return stem, f".{suffix}"


def _masks(path: Path, labels: Labels) -> tuple[tuple[MaskSource, ...], str | None]:
    """Return the masks in a label image and the class of the scan, or None if it is unknown."""
    if not labels.are_classes and labels.ignored is None:
        return (path,), None
    values = mask_values(path)
    present = {int(value) for value in np.unique(values)} - {0}
    unknown = sorted(present - labels.classes.keys() - {labels.ignored})
    if unknown:
        raise InputError(f"{path}: contains the value {unknown[0]}, which isn't a label in {FILE}")
    if labels.ignored in present:
        return (), None  # a part of the scan was not annotated
    classes = {name: [value for value in present if labels.classes[value] == name] for name in labels.classes.values()}
    masks = {name: np.isin(values, own) for name, own in classes.items() if own}
    if len(masks) == 1 and labels.are_classes:
        return (path,), next(iter(masks))
    return ((path,) if len(masks) < 2 else tuple(lesion_of(mask, path, name) for name, mask in masks.items())), None


def case_name(name: str) -> str:
    """Return the name of a case for the path of an image: letters, digits, ``-`` and ``.``, with ``_`` for all others."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name.rpartition(".")[0]).strip("_.") or "case"


def write(dataset: Dataset, folder: Path, *, split: Iterable[Dataset] | None, overwrite: bool) -> list[Path]:
    """Write a data set in nnU-Net's raw format; see ``Dataset.to_nnunet``."""
    dataset = with_parts(dataset, split)
    unknown = [sample.id for sample in dataset if not sample.masks and sample.label != USUAL_ORDER[0]]
    if unknown:
        warn_of(Path(dataset.name), unknown, "have no mask, which nnU-Net needs: they are left out")
    samples = [sample for sample in dataset if sample.masks or sample.label == USUAL_ORDER[0]]
    places = _places(samples, image_names(dataset))
    labels = _label_values(samples)

    def contents() -> Iterator[tuple[str, bytes]]:
        cases: dict[str, Sample] = {}
        for each in samples:
            sample, colours = read_pixels(each)
            image, label = places[sample.id]
            pixels, cases[image] = to_gray(colours), sample
            scan = scan_of(sample, image, (pixels.shape[0], pixels.shape[1]), dataset.resize_masks)
            values = np.zeros(scan.size, np.uint8)
            for outline in scan.outlines or ():
                place = values if outline.window is None else values[outline.window]
                place[outline.region] = labels.get(outline.label, 1)
            yield image, png_file(pixels)
            yield label, png_file(values)
        yield CASES, cases_file(cases)
        yield FILE, _description(labels, sum(image.startswith("imagesTr") for image, _ in places.values()))

    files = [*(name for pair in places.values() for name in pair), CASES, FILE]
    earlier = tuple(f"{one}/" for images, (places_of_labels, _) in FOLDERS.items() for one in (images, places_of_labels))
    if overwrite:
        check_earlier(folder, files, lambda name: name.startswith(earlier))
    return write_all(folder, files, contents(), overwrite=overwrite)


def _places(samples: Sequence[Sample], names: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the paths of the image and the label image of each sample. Equal names of cases get a number."""
    counts: Counter[str] = Counter()
    places = {}
    folders = {part: (images, labels) for images, (labels, part) in FOLDERS.items()}
    for sample in samples:
        case = case_name(names[sample.id])
        counts[case] += 1
        case = case if counts[case] == 1 else f"{case}-{counts[case]}"
        images, labels = folders[sample.part or "train"]
        places[sample.id] = f"{images}/{case}_0000{ENDING}", f"{labels}/{case}{ENDING}"
    return places


def _label_values(samples: Sequence[Sample]) -> dict[str, int]:
    """Return the value of each class of lesions, or one value for all where the class of a lesion is unknown."""
    classes: set[str | None] = set()
    for sample in samples:
        known = [mask.label for mask in sample.masks if isinstance(mask, LesionMask) and mask.label]
        classes |= set(known) if len(known) == len(sample.masks) else {*known, sample.label}
    classes.discard(USUAL_ORDER[0])
    if None in classes or not classes:
        return {LESION: 1}
    return {name: value for value, name in enumerate(sorted(filter(None, classes), key=class_order), start=1)}


def _description(labels: Mapping[str, int], count: int) -> bytes:
    return json_file(
        {
            "channel_names": {"0": "ultrasound"},
            "labels": {BACKGROUND: 0, **labels},
            "numTraining": count,
            "file_ending": ENDING,
            "overwrite_image_reader_writer": "NaturalImage2DIO",
        }
    )


def prediction_files(name: str) -> list[str]:
    """Return the names that nnU-Net may give to its prediction for an image.

    Args:
        name: Path of the image in a data set of nnU-Net (``imagesTs/CASE_0000.png``), or in one that ``write`` wrote as such.
    """
    stem, ending = _split_ending(name.rpartition("/")[2])
    match = CHANNEL.match(stem)
    case = match["case"] if match else case_name(name)
    return [f"{case}{one}" for one in dict.fromkeys((ending, ENDING, ".nii.gz"))]
