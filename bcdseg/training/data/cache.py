"""Caches of prepared scans, in shared memory or on disk.

Each cache is a list of slots, None where no item is cached yet. A slot is filled when its scan is first requested.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import OutputError
from bcdseg.files import cache_folder, write_whole
from bcdseg.types import LesionMask, Sample

VERSION = 2
"""Version of the cached format; raise it when the same files are prepared in another way, so that older entries are not read."""
MEMORY_SHARE = 0.25
"""Largest fraction of the machine's memory that ``auto`` uses."""
Item = dict[str, NDArray[Any]]


class ScanCache(Protocol):
    """Interface of what ``CacheDataset`` takes as its ``runtime_cache``."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int) -> Item | None: ...

    def __setitem__(self, at: int, item: Item) -> None: ...


class MemoryCache:
    """Cache of prepared scans in one block of shared memory; forked processes read what any of them writes.

    Pages that were never written take no memory. Spawned processes have a cache each.
    """

    def __init__(self, places: int, kind: np.dtype[Any], frame: tuple[int, int], channels: int) -> None:
        self.made_of = (places, kind, frame, channels)
        height, width = frame
        pixels = height * width
        self.kinds = np.frombuffer(mmap.mmap(-1, max(places, 1)), np.uint8)
        block = mmap.mmap(-1, max(places * pixels * (channels * kind.itemsize + 1), 1))
        self.images = np.frombuffer(block, kind, places * pixels * channels).reshape(places, pixels * channels)
        self.masks = np.frombuffer(block, np.uint8, places * pixels, self.images.nbytes).reshape(places, height, width)

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryCache, self.made_of

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> Item | None:
        channels = int(self.kinds[at])
        if not channels:
            return None
        mask = self.masks[at].copy()
        image = self.images[at, : mask.size * channels].reshape(*mask.shape, *([channels] if channels > 1 else [])).copy()
        return {"image": image, "mask": mask}

    def __setitem__(self, at: int, item: Item) -> None:
        image = item["image"]
        if image.dtype != self.images.dtype:
            return
        self.images[at, : image.size] = image.ravel()
        self.masks[at] = item["mask"]
        self.kinds[at] = 1 if image.ndim == 2 else image.shape[2]


class DiskCache:
    """Cache of prepared scans in the user's cache folder, keyed by the paths, sizes and times of their files and the preprocessing.

    A damaged file counts as missing, and a full disk only stops further caching.
    """

    def __init__(self, samples: Sequence[Sample], preprocessing: Preprocessing, resize_masks: bool, item_bytes: int) -> None:
        self.item_bytes = item_bytes
        self.folder = cache_folder() / "scans"
        made_by = f"{VERSION} {preprocessing!r} {preprocessing.stride} {resize_masks}"
        self.paths = [self.folder / f"{_key(sample, made_by)}.npz" for sample in samples]
        for path in self.paths:
            with suppress(OSError):
                os.utime(path)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int) -> Item | None:
        try:
            with np.load(self.paths[at], allow_pickle=False) as stored:
                return {"image": stored["image"], "mask": stored["mask"]}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def __setitem__(self, at: int, item: Item) -> None:
        content = io.BytesIO()
        np.savez(content, image=item["image"], mask=item["mask"])
        with suppress(OutputError):
            write_whole(self.paths[at], content.getvalue(), overwrite=True)


def free_space(caches: Sequence[ScanCache | None], limit: float) -> None:
    """Remove other runs' least recently used items from the user's cache folder until these caches fit into ``limit`` bytes."""
    on_disk = [one for one in caches if isinstance(one, DiskCache)]
    for folder in {one.folder for one in on_disk}:
        own = {path for one in on_disk for path in one.paths}
        left = limit - sum(len(one) * one.item_bytes for one in on_disk)
        for path, stat in sorted(_others(folder, own), key=lambda other: other[1].st_mtime, reverse=True):
            left -= stat.st_size
            if left < 0:
                with suppress(OSError):  # on Windows another run may be reading it
                    path.unlink(missing_ok=True)


def make_cache(
    where: str,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    *,
    first: NDArray[Any],
    resize_masks: bool,
    gigabytes: float,
    sharers: int,
) -> ScanCache | None:
    """Create the cache for as many of the first samples as fit; return None where nothing is cached.

    Args:
        where: ``auto``, ``memory``, ``disk`` or ``none``.
        samples: Samples to cache.
        preprocessing: Preprocessing of the model.
        first: Prepared pixels of the first sample, whose size and dtype determine the size of an item.
        resize_masks: Whether the data set resizes masks to their scans.
        gigabytes: Largest size of the cache.
        sharers: Processes on this machine that have a cache of their own each.
    """
    if where == "none":
        return None
    limit = gigabytes * 1e9
    item_bytes = first.shape[0] * first.shape[1] * (preprocessing.channels * first.itemsize + 1)
    if where == "disk":
        return DiskCache(samples[: int(limit / item_bytes)], preprocessing, resize_masks, item_bytes)
    if preprocessing.resize == "none":
        return None
    limit = min(limit, _memory() * MEMORY_SHARE) if where == "auto" else limit
    places = min(len(samples), int(limit / sharers / item_bytes))
    return MemoryCache(places, first.dtype, preprocessing.frame, preprocessing.channels)


def _others(folder: Path, own: set[Path]) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder.glob("*.npz"):
        with suppress(OSError):  # another run may just have removed it
            if path not in own:
                found.append((path, path.stat()))
    return found


def _key(sample: Sample, made_by: str) -> str:
    digest = blake2b(made_by.encode(), digest_size=16)
    digest.update(repr([mask for mask in sample.masks if isinstance(mask, LesionMask)]).encode())
    for path in sample.files:
        with suppress(OSError):  # a missing file is reported when it is read
            stat = path.stat()
            digest.update(f"\n{path.absolute()} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")  # not a POSIX system: gigabytes is the only limit
