"""The layout of BUSI, as released (``benign/benign (1).png``, ``benign (1)_mask.png``, ``_mask_1.png``) or in a single folder."""

from __future__ import annotations

import re
from collections import defaultdict

from bcdseg.data.layouts.listing import FolderListing, Listing, folder_labels, name_labels, split_path, stem_of, take_part
from bcdseg.types import Sample

MASK = re.compile(r"^(?P<image>.+)_mask(_\d+)?$", re.IGNORECASE)


def recognise(listing: Listing) -> bool:
    """Return whether some image has a mask next to it, with the image's name and ``_mask``."""
    stems = {stem_of(path) for path in listing.images}
    named = (match["image"] for match in map(MASK.match, stems) if match)
    return any(stem in stems and not MASK.match(stem) for stem in named)


def read(listing: Listing) -> FolderListing:
    """Read samples with labels from the folders, or from the file names if all files are in one folder."""
    images, masks = _pair(listing)
    places = [split_path(path) for path in images]
    parts, folders = zip(*(take_part(place) for place, _ in places), strict=True) if places else ((), ())
    labels = folder_labels(folders)
    if not any(labels):
        labels = name_labels([stem for _, stem in places])
    found = FolderListing()
    for path, part, label in zip(images, parts, labels, strict=True):
        own = tuple(listing.path(mask) for mask in masks.pop(stem_of(path), ()))
        found.samples.append(Sample(id=path, image=listing.path(path), masks=own, label=label, part=part))
    orphans = sorted(path for paths in masks.values() for path in paths)
    found.problems += [f"{path}: a mask without its image" for path in orphans]
    return found


def masks_of_images(listing: Listing) -> dict[str, list[str]]:
    """Return the mask files of each image, as relative paths."""
    images, masks = _pair(listing)
    return {image: masks[stem] for image in images if (stem := stem_of(image)) in masks}


def _pair(listing: Listing) -> tuple[list[str], dict[str, list[str]]]:
    """Return the images, and the masks by the path of their image without its suffix."""
    images, masks = [], defaultdict(list)
    for path in listing.images:
        match = MASK.match(stem_of(path))
        if match:
            masks[match["image"]].append(path)
        else:
            images.append(path)
    return images, dict(masks)
