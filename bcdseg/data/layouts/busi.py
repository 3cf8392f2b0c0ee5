"""The layout of BUSI, as released (``benign/benign (1).png``, ``benign (1)_mask.png``, ``_mask_1.png``) or in a single folder.

Files such as ``1_seg.png`` and ``mask_1.png`` next to ``1.png`` are masks too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection

from bcdseg.data.layouts.listing import FolderListing, Listing, labels_and_groups, name_labels, split_path, stem_of, take_part
from bcdseg.errors import DataWarning
from bcdseg.messages import name_some, warn_caller
from bcdseg.types import Sample

MASK = re.compile(r"^(?P<image>.+)_mask(_\d+)?$", re.IGNORECASE)
WORD = r"(?:mask|seg|segmentation|gt|ground[ _-]?truth)"
SOME_WORD = re.compile("mask|seg|gt|truth", re.IGNORECASE)
OTHER_MASK = re.compile(rf"^(?:{WORD}[ _-])?(?P<image>.+?)(?:[ _-]?{WORD}[ _-]?\d*)?$", re.IGNORECASE)


def recognise(listing: Listing) -> bool:
    """Return whether some image has a mask next to it, with the image's name and ``_mask`` or a similar word."""
    stems = {stem_of(path) for path in listing.images}
    named = (image_of_mask(stem, stems) for stem in stems)
    return any(stem in stems and not MASK.match(stem) for stem in named if stem is not None)


def image_of_mask(stem: str, stems: Collection[str]) -> str | None:
    """Return the image that a file is the mask of, by its name; None for other files.

    Args:
        stem: Path of the file without its suffix.
        stems: Paths of all images and masks without their suffixes. A name other than that of BUSI's masks is one of a mask only
            if its image is among them.
    """
    if match := MASK.match(stem):
        return match["image"]
    folders, slash, name = stem.rpartition("/")
    match = OTHER_MASK.match(name) if SOME_WORD.search(name) else None
    image = folders + slash + match["image"] if match else stem
    return image if image != stem and image in stems else None


def read(listing: Listing) -> FolderListing:
    """Read samples with labels from the folders, or from the file names if all files are in one folder."""
    images, masks = _pair(listing)
    places = [split_path(path) for path in images]
    parts, folders = zip(*(take_part(place) for place, _ in places), strict=True) if places else ((), ())
    labels, groups = labels_and_groups(listing.root, folders)
    if not any(labels):
        labels = name_labels([stem for _, stem in places])
    found = FolderListing()
    for path, part, label, group in zip(images, parts, labels, groups, strict=True):
        own = tuple(listing.path(mask) for mask in masks.get(stem_of(path), ()))
        found.samples.append(Sample(id=path, image=listing.path(path), masks=own, label=label, group=group, part=part))
    by_stem = Counter(map(stem_of, images))
    orphans = sorted(path for stem, paths in masks.items() if stem not in by_stem for path in paths)
    found.problems += [f"{path}: a mask without its image" for path in orphans]
    shared = [path for path in images if by_stem[stem_of(path)] > 1 and stem_of(path) in masks]
    if shared:
        message = f"{listing.root}: images of one name, which have the same masks: {name_some(shared)}. Remove copies of one scan."
        warn_caller(message, DataWarning)
    return found


def masks_of_images(listing: Listing) -> dict[str, list[str]]:
    """Return the mask files of each image, as relative paths."""
    images, masks = _pair(listing)
    return {image: masks[stem] for image in images if (stem := stem_of(image)) in masks}


def _pair(listing: Listing) -> tuple[list[str], dict[str, list[str]]]:
    """Return the images, and the masks by the path of their image without its suffix."""
    images, masks = [], defaultdict(list)
    stems = {stem_of(path) for path in listing.images}
    for path in listing.images:
        image = image_of_mask(stem_of(path), stems)
        if image is None:
            images.append(path)
        else:
            masks[image].append(path)
    return images, dict(masks)
