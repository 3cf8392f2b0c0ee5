"""The layout with one folder per class (``benign/``, ``malignant/`` or any others), also below ``train/``, ``val/``, ``test/``."""

from __future__ import annotations

from bcdseg.data.layouts.busi import MASK
from bcdseg.data.layouts.listing import MOST_CLASSES, FolderListing, Listing, split_path, stem_of, take_part
from bcdseg.data.layouts.shared_stems import equal_folders
from bcdseg.types import Sample


def recognise(listing: Listing) -> bool:
    """Return whether every image is in a folder, and these are at least two, not so many that they are patients.

    Two folders whose files have the same names are images and masks, or views, and never classes.
    """
    classes = {take_part(split_path(path)[0])[1][-1:] for path in listing.images}
    return () not in classes and 2 <= len(classes) <= MOST_CLASSES and equal_folders(listing) is None


def read(listing: Listing) -> FolderListing:
    """Read samples with the image's folder as the label; masks next to their images, as in BUSI, are left out."""
    found = FolderListing()
    stems = {stem_of(path) for path in listing.images}
    for path in listing.images:
        mask = MASK.match(stem_of(path))
        if mask and mask["image"] in stems:
            continue
        part, folders = take_part(split_path(path)[0])
        if folders:
            found.samples.append(Sample(id=path, image=listing.path(path), label=folders[-1], part=part))
        else:
            found.problems.append(f"{path}: is in no class folder")
    return found
