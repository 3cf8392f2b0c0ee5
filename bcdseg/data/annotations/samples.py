"""Samples of annotated images: what the readers of all annotation formats have in common."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bcdseg.data.labels import USUAL_ORDER
from bcdseg.data.layouts.file_index import FileIndex
from bcdseg.data.layouts.listing import FolderListing, Listing, labels_and_groups, name_labels, split_path, take_part
from bcdseg.data.readers import NO_SCAN
from bcdseg.errors import DatasetError, DataWarning, InputError
from bcdseg.messages import name_some
from bcdseg.types import Fact, LesionMask, Sample, Spacing

IMAGE_FOLDER = "images"
START = 4096  # characters of a file that show its format
OTHER = "have a label that is not the class of their lesions, and keep it: correct the label too (in LabelMe the flag of the image)"
SEVERAL = "have lesions of several classes: their label is unknown, and each lesion keeps its class"


@dataclass(kw_only=True)
class AnnotatedImage:
    """One image with its annotations.

    Attributes:
        file: Annotation file.
        name: Path or name of the image in the annotation file.
        lesions: Outlined lesions.
        outlined: Whether the image was annotated, so that it has no other lesions than these.
        boxes: Classes of lesions that have only a box; None for one without a class.
        label: Class of the whole image, where the file contains one.
        group: Group of the image, where the file contains one.
        part: Part of a split, where the file contains one.
        spacing: Millimetres per pixel, where the file contains them.
        facts: Facts about the scan, where the file contains them.
        size: Height and width of the image.
    """

    file: Path
    name: str
    size: tuple[int, int]
    lesions: list[LesionMask] = field(default_factory=list)
    outlined: bool = False
    boxes: list[str | None] = field(default_factory=list)
    label: str | None = None
    group: str | None = None
    part: str | None = None
    spacing: Spacing | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def classes(self) -> set[str]:
        """Classes of the lesions."""
        return {name for name in (*(lesion.label for lesion in self.lesions), *self.boxes) if name is not None}


def samples_of(images: Iterable[AnnotatedImage], listing: Listing, problems: Sequence[str] = ()) -> FolderListing:
    """Return the samples of annotated images, and the problems with them.

    A scan's label is its image's label, or the class of its lesions where they agree. If all lesions of the data set have one
    class that is not a usual one, such as ``lesion``, it is the name of the object and not a label; then folders and names of
    images are searched for labels. A scan with a box in place of an outline has an unknown mask.
    """
    found = FolderListing(problems=list(problems))
    pairs = _with_files(images, listing, found)
    names = {name for image, _ in pairs for name in image.classes}
    if len(names) == 1 and not names <= set(USUAL_ORDER):
        pairs = [(_without_classes(image), path) for image, path in pairs]
    labels = [image.label or (min(image.classes) if len(image.classes) == 1 else None) for image, _ in pairs]
    ids = _ids([path for _, path in pairs], listing.root)
    parts = [take_part(split_path(one)[0]) for one in ids]
    groups: Sequence[str | None] = [None] * len(ids)
    if not any(labels) and not any(image.classes for image, _ in pairs):
        own_folders = [[name for name in folders if name.lower() != IMAGE_FOLDER] for _, folders in parts]
        labels, groups = labels_and_groups(listing.root, own_folders)
        labels = labels if any(labels) else name_labels([split_path(one)[1] for one in ids])
    for (image, path), one, label, group, (part, _) in zip(pairs, ids, labels, groups, parts, strict=True):
        found.samples.append(
            Sample(
                id=one,
                image=path,
                masks=_masks(image),
                label=label,
                group=image.group or group,
                part=image.part or part,
                spacing=image.spacing,
                facts=image.facts,
            )
        )
    _warn(listing.root, [image for image, _ in pairs], ids, labels)
    if not found.problems and listing.annotation is None:
        _warn_of_unused(listing, {os.path.abspath(path) for _, path in pairs})  # noqa: PTH100 - links stay
    return found


def load_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DatasetError: The file is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is not valid JSON ({error}). Export the annotations again.") from error


def starts_with_key(path: Path, keys: Sequence[str], also: str = "") -> bool:
    """Return whether a file starts as a JSON object whose first key is one of these, and has another key near its start."""
    start = _start(path)
    before, _, rest = start.partition('"')
    return "".join(before.split()) == "{" and rest.partition('"')[0] in keys and (not also or f'"{also}"' in start)


def _start(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(START)
    except OSError:
        return ""


def check_size(height: Any, width: Any, what: str) -> tuple[int, int]:
    """Return height and width as whole numbers.

    Raises:
        InputError: They are not whole numbers above 0.
    """
    if not all(type(side) in (int, float) and side > 0 and float(side).is_integer() for side in (height, width)):
        raise InputError(f"{what}: its height {height!r} and width {width!r} are not whole numbers above 0")
    return int(height), int(width)


def _with_files(images: Iterable[AnnotatedImage], listing: Listing, found: FolderListing) -> list[tuple[AnnotatedImage, Path]]:
    """Return the images with their files; those without a file, and second annotations of one file, become problems."""
    index, first = FileIndex(listing), dict[Path, AnnotatedImage]()
    for image in images:
        path, problem = _find(image, listing, index)
        if not problem and path in first:
            problem = f"{path}: is annotated twice, in {first[path].file} too"
        if problem:
            found.problems.append(f"{image.file}: {problem}")
        else:
            first[path] = image
    return [(image, path) for path, image in first.items()]


def _find(image: AnnotatedImage, listing: Listing, index: FileIndex) -> tuple[Path, str]:
    """Return the file of an image, and what is wrong with it: near the annotation file, or anywhere below the folder."""
    name, own = image.name.replace("\\", "/"), image.file.parent
    for folder in (own, listing.root, listing.root / IMAGE_FOLDER, own.parent / IMAGE_FOLDER):
        path = Path(os.path.normpath(folder / name))
        if name and os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for impossible names
            return path, ""
    return index.find(name)


def _ids(paths: Sequence[Path], root: Path) -> list[str]:
    """Return the paths of the images below the folder, or below their common folder where one is outside."""
    start = Path(os.path.abspath(root))  # noqa: PTH100 - links stay
    full = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - links stay
    try:
        inside = all(start in path.parents for path in full)
        start = start if inside else Path(os.path.commonpath([path.parent for path in full]))
        return [path.relative_to(start).as_posix() for path in full]
    except ValueError:  # they are on several drives
        return [path.as_posix() for path in full]


def _without_classes(image: AnnotatedImage) -> AnnotatedImage:
    lesions = [replace(lesion, label=None) for lesion in image.lesions]
    return replace(image, lesions=lesions, boxes=[None] * len(image.boxes))


def _masks(image: AnnotatedImage) -> tuple[LesionMask, ...]:
    if image.boxes:
        return ()
    if image.outlined and not image.lesions:
        return (LesionMask(file=image.file, size=image.size),)
    return tuple(image.lesions)


def _warn(root: Path, images: Sequence[AnnotatedImage], ids: Sequence[str], labels: Sequence[str | None]) -> None:
    """Warn of annotations that are ignored or changed."""
    several = [one for image, one, label in zip(images, ids, labels, strict=True) if label is None and len(image.classes) > 1]
    used = {*USUAL_ORDER, *(image.label for image in images)}
    other = [one for image, one in zip(images, ids, strict=True) if image.label and _differs(image.label, image.classes & used)]
    boxes = [one for image, one in zip(images, ids, strict=True) if image.boxes]
    known = [image.lesions or image.boxes or image.outlined or image.label for image in images]
    none = [one for one, is_known in zip(ids, known, strict=True) if not is_known]
    for named, text in (
        (several, SEVERAL),
        (other, OTHER),
        (boxes, "have boxes in place of outlines: their mask is unknown"),
        (none, "have no annotation: their mask is unknown, not empty"),
    ):
        if named:
            warn_of(root, named, text)


def _differs(label: str, classes: set[str]) -> bool:
    return bool(classes) and label not in classes


def _warn_of_unused(listing: Listing, used: set[str]) -> None:
    """Warn of images that no annotation file names, except masks and overlays."""
    scans = [name for name in listing.images if not NO_SCAN.search(split_path(name)[1])]
    unused = [name for name in scans if os.path.abspath(listing.path(name)) not in used]  # noqa: PTH100 - links stay
    if unused:
        warn_of(listing.root, unused, "are in no annotation file: they are left out")


def warn_of(root: Path, ids: Sequence[str], text: str) -> None:
    """Warn of some images of a data set."""
    warnings.warn(f"{root}: {len(ids)} images {text} ({name_some(ids)}).", DataWarning, stacklevel=5)
