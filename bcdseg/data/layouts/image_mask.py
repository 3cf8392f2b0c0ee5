"""The layout with separate image and mask folders (``images/ masks/``, ``img/ label/``), and equal file names or a suffix."""

from __future__ import annotations

import re
from collections import defaultdict

from bcdseg.data.layouts.listing import FolderListing, Listing, folder_labels, name_labels, split_path, take_part
from bcdseg.types import Sample

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "gt", "groundtruth", "ground_truth", "segmentations", "annotations")
WORD = r"(?:mask|gt|seg|segmentation|label|annotation|groundtruth|ground_truth|lesion|tumor)"
AFFIXED = re.compile(rf"^(?:{WORD}[ _-])?(?P<image>.+?)(?:[ _-]{WORD}(?:[ _-]?\d+)?)?$", re.IGNORECASE)
Key = tuple[tuple[str, ...], str]


def recognise(listing: Listing) -> bool:
    """Return whether there are image folders with mask folders next to them."""
    images, masks = _sort(listing)
    beside = {folders for folders, _ in masks}
    return any(folders in beside for folders, _ in images)


def read(listing: Listing) -> FolderListing:
    """Pair images and masks by name, with labels from folders above or below the two, else from file names as in BUSI."""
    images, masks = _sort(listing)
    own: dict[Key, list[str]] = defaultdict(list)
    found = FolderListing()
    for (folders, stem), paths in masks.items():
        match = AFFIXED.match(stem)
        keys = [(folders, stem), (folders, match["image"] if match else stem)]
        image = next((key for key in keys if key in images), None)
        if image:
            own[image] += paths
        else:
            found.problems += [f"{path}: a mask without its image" for path in paths]
    taken = [take_part(folders) for folders, _ in images]
    labels = folder_labels([folders for _, folders in taken])
    if not any(labels):
        labels = name_labels([stem for _, stem in images])
    for (key, paths), (part, _), label in zip(images.items(), taken, labels, strict=True):
        mask_files = tuple(listing.path(mask) for mask in own[key])
        if label is None and not mask_files:
            found.problems += [f"{path}: an image without its mask" for path in paths]
        else:
            found.samples += [Sample(id=path, image=listing.path(path), masks=mask_files, label=label, part=part) for path in paths]
    return found


def _sort(listing: Listing) -> tuple[dict[Key, list[str]], dict[Key, list[str]]]:
    """Return images and masks, by their name and by their folders without the image or mask folder."""
    sorted_files: tuple[dict[Key, list[str]], dict[Key, list[str]]] = ({}, {})
    for path in listing.images:
        folders, stem = split_path(path)
        for at, folder in reversed(list(enumerate(folders))):
            if folder.lower() in (*IMAGE_FOLDERS, *MASK_FOLDERS):
                kind = sorted_files[folder.lower() in MASK_FOLDERS]
                kind.setdefault((folders[:at] + folders[at + 1 :], stem), []).append(path)
                break
    return sorted_files
