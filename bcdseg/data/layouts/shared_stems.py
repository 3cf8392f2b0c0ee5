"""Folders whose files have the same names: images and their masks, whatever the folders are called, and never classes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bcdseg.data.images import ARRAY_SUFFIX, load_array, read_image
from bcdseg.data.labels import USUAL_ORDER
from bcdseg.data.layouts.listing import PARTS, Listing, split_path, take_part
from bcdseg.errors import BcdsegError
from bcdseg.types import Pixels

WORD = r"(?:mask|gt|seg|segmentation|label|annotation|groundtruth|ground_truth|lesion|tumor)"
AFFIXED = re.compile(rf"^(?:{WORD}[ _-])?(?P<image>.+?)(?:[ _-]{WORD}(?:[ _-]?\d+)?)?$", re.IGNORECASE)
CHANNEL = re.compile(r"_0000$")  # nnU-Net's first channel
MOST_FOLDERS = 10
EXAMINED = 3  # files of a folder that are decoded
FEW_LEVELS = 8
NEAR, NEARLY_ALL = 16, 0.98  # gray levels of a mask that was saved as JPEG
FileKey = tuple[tuple[str, ...], tuple[str, ...], str]


@dataclass(frozen=True)
class FolderPair:
    """Two folders side by side, at one depth below the data set's folder."""

    depth: int
    images: str
    masks: str


def bare_stem(stem: str) -> str:
    """Return the stem of a file without words such as ``mask``, and without nnU-Net's number of the channel."""
    stem = CHANNEL.sub("", stem)
    match = AFFIXED.match(stem)
    return match["image"] if match else stem


def folders_of_same_files(listing: Listing) -> FolderPair | None:
    """Return the two folders that share their file names, if one contains scans and the other masks; else None.

    At most a few files of each folder are decoded, and only where at least half of the names are shared. Folders that are named
    as parts or as the usual classes are left out.
    """
    for depth, folders in sorted(_by_depth(listing.images).items()):
        if not 2 <= len(folders) <= MOST_FOLDERS:
            continue
        kinds: dict[str, bool | None] = {}
        for one, other in combinations(folders, 2):
            shared = sorted(folders[one].keys() & folders[other].keys())
            if shared and 2 * len(shared) >= min(len(folders[one]), len(folders[other])):
                for name in (one, other):
                    kinds.setdefault(name, _are_masks(listing, (folders[name][key] for key in _spread(shared))))
        scans, masks = ([name for name, are_masks in kinds.items() if are_masks is kind] for kind in (False, True))
        if len(scans) == len(masks) == 1:
            return FolderPair(depth, scans[0], masks[0])
    return None


def equal_folders(listing: Listing) -> tuple[str, str] | None:
    """Return two folders of the innermost level that contain files of exactly the same names, and aren't the usual classes."""
    stems: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in listing.images:
        folders, stem = split_path(path)
        if folders and take_part(folders)[1][-1:] and folders[-1].lower() not in USUAL_ORDER:
            stems[folders].add(bare_stem(stem))
    for (one, own), (other, others) in combinations(list(stems.items())[:MOST_FOLDERS], 2):
        if own == others and take_part(one)[1][-1:] != take_part(other)[1][-1:]:
            return "/".join(one), "/".join(other)
    return None


def _by_depth(paths: Iterable[str]) -> Mapping[int, Mapping[str, Mapping[FileKey, str]]]:
    """Return the files of each folder name at each depth, by what two paths have in common if only that name differs."""
    found: dict[int, dict[str, dict[FileKey, str]]] = defaultdict(lambda: defaultdict(dict))
    for path in paths:
        folders, stem = split_path(path)
        for depth, name in enumerate(folders):
            if name.lower() not in PARTS and name.lower() not in USUAL_ORDER:
                found[depth][name][folders[:depth], folders[depth + 1 :], bare_stem(stem)] = path
    return found


def _spread(keys: list[FileKey]) -> list[FileKey]:
    return [keys[at] for at in sorted({0, len(keys) // 2, len(keys) - 1})][:EXAMINED]


def _are_masks(listing: Listing, paths: Iterable[str]) -> bool | None:
    """Return whether all files are masks (True) or all are scans (False); None where they differ or can't be read."""
    kinds = set()
    for path in paths:
        try:
            file = listing.path(path)
            kinds.add(_is_mask(load_array(file, path) if file.suffix.lower() == ARRAY_SUFFIX else read_image(file)))
        except (BcdsegError, OSError, ValueError):
            return None
    return kinds.pop() if len(kinds) == 1 else None


def _is_mask(pixels: Pixels) -> bool:
    """Return whether an image has only a few levels, as masks do, or nearly all of its pixels are near black or near white."""
    values = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    if len(np.unique(values)) <= FEW_LEVELS:
        return True
    span = NEAR / 255 if values.dtype.kind == "f" else NEAR
    return bool(((values <= span) | (values >= values.max() - span)).mean() >= NEARLY_ALL)
