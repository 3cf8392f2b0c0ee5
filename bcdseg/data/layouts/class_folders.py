"""The layout with one folder per class (``benign/``, ``malignant/`` or any others), also below ``train/``, ``val/``, ``test/``."""

from __future__ import annotations

from bcdseg.data.layouts.busi import image_of_mask
from bcdseg.data.layouts.listing import (
    MOST_CLASSES,
    FolderListing,
    Listing,
    class_positions,
    labels_and_groups,
    split_path,
    stem_of,
    take_part,
)
from bcdseg.data.layouts.shared_stems import equal_folders
from bcdseg.types import Sample


def recognise(listing: Listing) -> bool:
    """Return whether every image is in a folder of a class: at least two, not so many that they are patients.

    Folders of patients may be below those of the usual classes. Two other folders whose files have the same names are images and
    masks, or views, and never classes.
    """
    folders = [take_part(split_path(path)[0])[1] for path in listing.images]
    if class_positions(folders) is not None:
        return True
    classes = {inner[-1:] for inner in folders}
    return () not in classes and 2 <= len(classes) <= MOST_CLASSES and equal_folders(listing) is None


def read(listing: Listing) -> FolderListing:
    """Read samples with labels and groups from the folders; masks next to their images, as in BUSI, are left out."""
    found = FolderListing()
    stems = {stem_of(path) for path in listing.images}
    images = [path for path in listing.images if image_of_mask(stem_of(path), stems) not in stems]
    taken = [take_part(split_path(path)[0]) for path in images]
    labels, groups = labels_and_groups(listing.root, [folders for _, folders in taken], any_number=True)
    for path, (part, _), label, group in zip(images, taken, labels, groups, strict=True):
        if label is not None:
            found.samples.append(Sample(id=path, image=listing.path(path), label=label, group=group, part=part))
        else:
            found.problems.append(f"{path}: is in no class folder")
    return found
