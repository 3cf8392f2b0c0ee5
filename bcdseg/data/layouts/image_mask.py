"""The layout with folders of images and folders of masks: ``images/ masks/``, ``original/ GT/``, nnU-Net's ``imagesTr/ labelsTr/``.

Folders are recognised by their names: alone (``img/ label/``), or with a class or a part (``benign_images/ benign_masks/``). Two
folders of other names are recognised by shared file names; then a few files are decoded to find out which of them are masks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bcdseg.data.layouts.listing import FolderListing, Listing, labels_and_groups, name_labels, split_path, take_part
from bcdseg.data.layouts.shared_stems import CHANNEL, bare_stem, folders_of_same_files
from bcdseg.errors import DataWarning
from bcdseg.messages import name_some, warn_caller
from bcdseg.types import Sample

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "original", "originals")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "gt", "gts", "groundtruth", "groundtruths", "segmentations", "segmentation"),
    *("seg", "segs", "annotations", "annotation", "ann", "anns"),
)
NNUNET = re.compile(r"^(?P<kind>images|labels)(?P<part>tr|ts|val)$", re.IGNORECASE)
NNUNET_PARTS = {"tr": "train", "ts": "test", "val": "val"}
Key = tuple[tuple[str, ...], str]
Kind = Callable[[int, str], tuple[bool, str] | None]
"""Function of a folder's depth and name: whether it contains masks, and the rest of its name; None for other folders."""


@dataclass
class SortedFiles:
    """Images and masks by their name and by their folders without the image or mask folder, and files that are neither."""

    images: dict[Key, list[str]] = field(default_factory=dict)
    masks: dict[Key, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def are_pairs(self) -> bool:
        """Whether some folder of images has a folder of masks next to it."""
        with_masks = {folders for folders, _ in self.masks}
        return any(folders in with_masks for folders, _ in self.images)


def recognise(listing: Listing) -> bool:
    """Return whether there are image folders with mask folders next to them."""
    return _sorted_files(listing).are_pairs


def read(listing: Listing) -> FolderListing:
    """Pair images and masks by name, with labels from folders above or below the two, else from file names as in BUSI."""
    files = _sorted_files(listing)
    own, found = _paired(files)
    taken = [take_part(folders) for folders, _ in files.images]
    labels, groups = labels_and_groups(listing.root, [folders for _, folders in taken])
    if not any(labels):
        labels = name_labels([stem for _, stem in files.images])
    with_masks = {part for key, (part, _) in zip(files.images, taken, strict=True) if own.get(key)}
    for (key, paths), (part, _), label, group in zip(files.images.items(), taken, labels, groups, strict=True):
        masks = tuple(listing.path(mask) for mask in own[key])
        if masks or label is not None:
            found.samples += [
                Sample(id=path, image=listing.path(path), masks=masks, label=label, group=group, part=part) for path in paths
            ]
        elif part == "test" and part not in with_masks and with_masks:  # a test part that was published without its truth
            files.others += paths
        else:
            found.problems += [f"{path}: an image without its mask" for path in paths]
    _warn_of_others(listing, files.others)
    return found


def masks_of_images(listing: Listing) -> dict[str, list[str]]:
    """Return the mask files of each image, as relative paths."""
    files = _sorted_files(listing)
    own, _ = _paired(files)
    return {path: own[key] for key, paths in files.images.items() for path in paths if own.get(key)}


def _sorted_files(listing: Listing) -> SortedFiles:
    """Sort the files by the names of their folders, or else by the names that two folders share."""
    by_name = _sort(listing.images, _kind_of_word)
    if by_name.are_pairs:
        return by_name
    by_affix = _sort(listing.images, _kind_of_affixed_word)
    if by_affix.are_pairs:
        return by_affix
    folders = folders_of_same_files(listing)
    if folders is None:
        return by_name
    kinds = {folders.images: (False, ""), folders.masks: (True, "")}
    return _sort(listing.images, lambda depth, name: kinds.get(name) if depth == folders.depth else None)


def _sort(paths: Iterable[str], kind_of: Kind) -> SortedFiles:
    files = SortedFiles()
    for path in paths:
        folders, stem = split_path(path)
        for at, folder in reversed(list(enumerate(folders))):
            kind = kind_of(at, folder)
            if kind is not None:
                are_masks, rest = kind
                place = (*folders[:at], *([rest] if rest else []), *folders[at + 1 :])
                (files.masks if are_masks else files.images).setdefault((place, stem), []).append(path)
                break
        else:
            files.others.append(path)
    return files


def _kind_of_word(_: int, name: str) -> tuple[bool, str] | None:
    nnunet = NNUNET.match(name)
    if nnunet:
        return nnunet["kind"].lower() == "labels", NNUNET_PARTS[nnunet["part"].lower()]
    word = re.sub(r"[ _-]", "", name.lower())
    return (word in MASK_FOLDERS, "") if word in (*IMAGE_FOLDERS, *MASK_FOLDERS) else None


def _kind_of_affixed_word(depth: int, name: str) -> tuple[bool, str] | None:
    """Return the kind of a folder such as ``benign_masks`` or ``img-train``, and the rest of its name."""
    kind = _kind_of_word(depth, name)
    if kind is not None:
        return kind
    words = re.split(r"[ _-]", name)
    for word, rest in ((words[-1], name[: -len(words[-1]) - 1]), (words[0], name[len(words[0]) + 1 :])):
        if rest and (kind := _kind_of_word(depth, word)) is not None:
            return kind[0], rest
    return None


def _paired(files: SortedFiles) -> tuple[dict[Key, list[str]], FolderListing]:
    """Return the masks of each image, and the problems with masks that belong to no image."""
    own: dict[Key, list[str]] = defaultdict(list)
    found = FolderListing()
    images = {(folders, CHANNEL.sub("", stem)): (folders, stem) for folders, stem in files.images}
    images |= {key: key for key in files.images}
    for (folders, stem), paths in files.masks.items():
        image = images.get((folders, stem)) or images.get((folders, bare_stem(stem)))
        if image:
            own[image] += paths
        else:
            found.problems += [f"{path}: a mask without its image" for path in paths]
    return own, found


def _warn_of_others(listing: Listing, others: Iterable[str]) -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in others:
        counts[path.rpartition("/")[0] or "."] += 1
    if counts:
        named = name_some([f"{folder}/ ({count})" for folder, count in counts.items()])
        message = f"{listing.root}: images that aren't used, since they are neither images with masks nor masks: {named}."
        warn_caller(message, DataWarning)
