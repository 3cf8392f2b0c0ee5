"""Files that a table names: by path, or by their names alone where these are unique below the data set's folder."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from bcdseg.data.layouts import busi, image_mask
from bcdseg.data.layouts.listing import Listing, stem_of


class FileIndex:
    """Finds the images and masks of a table's rows. The folder is listed when a path alone does not lead to a file."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def find(self, cell: str, *, mask: bool = False) -> tuple[Path, str]:
        """Return the file that a cell names and an empty text, or a path and what is wrong with it.

        Args:
            cell: A path, absolute or below the folder; or the end of a path, or the name of a file, also without its suffix.
            mask: Whether a mask is searched, and not a scan.
        """
        name = cell.replace("\\", "/")
        path = self._listing.root / name
        problem = _problem(path)
        if problem != MISSING or Path(name).is_absolute():
            return path, problem and f"{path}: {problem}"
        found = self._by_end.get(_key(name), [])
        if len(found) > 1:
            found = [one for one in found if (one in self._masks) == mask] or found
        if len(found) == 1 and not (self._is_scan(found[0]) if mask else found[0] in self._masks):
            path = self._listing.path(found[0])
            problem = _problem(path)
            return path, problem and f"{path}: {problem}"
        if len(found) > 1:
            return path, f"{path}: no such file, and {len(found)} files have this name: {found[0]}, {found[1]}"
        return path, f"{path}: {problem}"

    def masks_of(self, image: Path) -> tuple[Path, ...]:
        """Return the masks of an image, paired by their names."""
        return tuple(map(self._listing.path, self._pairs.get(_full_key(image), ())))

    def _is_scan(self, name: str) -> bool:
        """Return whether a file is the scan of a mask."""
        return _full_key(self._listing.root / name) in self._pairs

    @cached_property
    def _pairs(self) -> Mapping[str, Sequence[str]]:
        pairs: Mapping[str, Sequence[str]] = {}
        if busi.recognise(self._listing):
            pairs = busi.masks_of_images(self._listing)
        elif image_mask.recognise(self._listing):
            pairs = image_mask.masks_of_images(self._listing)
        root = os.path.abspath(self._listing.root)  # noqa: PTH100 - links stay
        return {_key(os.path.join(root, *name.split("/"))): masks for name, masks in pairs.items()}  # noqa: PTH118

    @cached_property
    def _masks(self) -> frozenset[str]:
        return frozenset(mask for masks in self._pairs.values() for mask in masks)

    @cached_property
    def _by_end(self) -> Mapping[str, list[str]]:
        """All files by each end of their path, with and without their suffix."""
        ends: dict[str, list[str]] = defaultdict(list)
        for path in self._listing.images:
            folders = _key(path).split("/")
            stem = stem_of(folders[-1])
            for at in range(len(folders)):
                for last in {folders[-1], stem}:
                    ends["/".join([*folders[at:-1], last])].append(path)
        return ends


MISSING = "no such file"


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).lower()


def _full_key(path: Path) -> str:
    return _key(os.path.abspath(path))  # noqa: PTH100 - links stay


def _problem(path: Path) -> str:
    try:
        return "" if path.stat().st_size else "the file is empty"
    except (OSError, ValueError):  # ValueError: no file can have this name
        return MISSING
