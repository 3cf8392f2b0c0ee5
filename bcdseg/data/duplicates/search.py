"""Search for near-duplicate scans.

The search has three steps, and each one reduces the work of the next: every scan is described by some hundred blobs of its texture
(``descriptors``), scans that share blobs in one consistent placement become candidates (``candidates``), and the texture of
candidates is compared pixel by pixel in their overlap (``verify``). The pairs are merged into groups (``groups``).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcdseg.data.duplicates.groups import SURE, DuplicatePair, Joined, grouped
from bcdseg.data.duplicates.verify import Registration
from bcdseg.data.hashing import file_hash
from bcdseg.errors import ImageError
from bcdseg.files import cache_folder, write_whole
from bcdseg.messages import percent
from bcdseg.types import Sample, ScanImage

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

__all__ = ["SAME", "SURE", "DuplicatePair", "Duplicates", "Progress", "duplicate_groups", "find_duplicates"]

SAME = 0.33
"""Lowest score of a pair. Unrelated scans stay below 0.3, nearly all copies are above 0.8, and neighbouring frames are between."""

ENOUGH = 12
"""Size from which the other pairs of a group are not compared, so that a set with a hundred copies of each scan stays cheap."""

Progress = Callable[[str, int, int], None]
"""Callback that receives the name of the step, the number of finished items and the number of all items."""

Visit = Callable[[Sample, ScanImage], None]
"""Callback that receives a sample and its scan."""


@dataclass(frozen=True)
class Duplicates:
    """Near-duplicates in a set of scans: ``pairs`` in descending order of score, and ``groups`` of their ids."""

    pairs: tuple[DuplicatePair, ...]

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Groups of two or more ids."""
        return grouped(self.pairs)


def find_duplicates(
    samples: Iterable[Sample], *, cache: bool = True, progress: Progress | None = None, visit: Visit | None = None
) -> Duplicates:
    """Find the scans that are nearly the same, whatever their labels.

    Args:
        samples: A data set, or any samples with different ids.
        cache: Whether to store the result in the user's cache folder, and to load it from there if it exists.
        progress: Callback for the progress.
        visit: Callback for each scan, so that a caller who needs the pixels too doesn't read all files again. It is called once
            per sample, from several threads and in any order.

    Raises:
        ImageError: An image can't be read.
    """
    samples = list(samples)
    progress = progress or (lambda *_: None)
    key = content_key(samples) if cache else ""
    known = kept(key) if cache else None
    if known is None:
        known = _pairs(samples, progress, visit)
        if cache:
            keep(key, known)
    elif visit is not None:
        _visit_all(samples, progress, visit)
    return Duplicates(known)


def duplicate_groups(dataset: Dataset) -> tuple[tuple[str, ...], ...]:
    """Return groups of two or more ids of samples that are nearly the same scan.

    Where an audit of all samples was applied to the data set, these are the groups that it found.
    """
    known = dataset.known_duplicates
    if known is not None and known.cover(dataset):
        return known.groups
    return find_duplicates(dataset).groups


def _visit_all(samples: Sequence[Sample], progress: Progress, visit: Visit) -> None:
    from bcdseg.data.readers import mapped, read_sample_scan

    for _ in mapped(
        lambda one: visit(one, read_sample_scan(one.image)), samples, lambda done: progress("reading", done, len(samples))
    ):
        pass


def _pairs(samples: Sequence[Sample], progress: Progress, visit: Visit | None) -> tuple[DuplicatePair, ...]:
    from bcdseg.data.duplicates.candidates import candidates
    from bcdseg.data.duplicates.descriptors import Description, describe, even_out, tissue_in
    from bcdseg.data.duplicates.verify import Laid, overlap
    from bcdseg.data.images import to_gray, to_uint8
    from bcdseg.data.readers import mapped, read_sample_scan

    def describe_one(sample: Sample) -> tuple[bytes, Description]:
        scan = read_sample_scan(sample.image)
        if visit is not None:
            visit(sample, scan)
        gray = to_uint8(to_gray(scan.pixels))
        return hashlib.sha256(np.ascontiguousarray(gray).tobytes() + repr(gray.shape).encode()).digest(), describe(gray)

    first: dict[bytes, int] = {}
    copies: list[DuplicatePair] = []
    described: dict[int, Description] = {}
    for number, (content, description) in enumerate(
        mapped(describe_one, samples, lambda done: progress("describing", done, len(samples)))
    ):
        original = first.setdefault(content, number)
        if original == number:
            described[number] = description
        else:
            copies.append(DuplicatePair(samples[original].id, samples[number].id, 1.0, ("same pixels",)))

    numbers, descriptions = list(described), list(described.values())

    @lru_cache(256)
    def laid(which: int) -> Laid:
        picture = descriptions[which].picture
        return Laid(picture, even_out(picture), tissue_in(picture))

    progress("matching", 0, len(samples))
    likely = list(candidates(descriptions))
    pairs, groups = copies, Joined()
    for done, each in enumerate(likely):
        progress("comparing", done + 1, len(likely))
        if groups.together(each.one, each.other) and groups.size(each.one) >= ENOUGH:
            continue
        found = overlap(laid(each.one), laid(each.other), each.placement)
        if found is not None and found.score >= SAME:
            one, other = each.one, each.other
            words = evidence(found, descriptions[one].size, descriptions[other].size)
            where = (*found.placement.scale, *found.placement.shift)
            pairs.append(DuplicatePair(samples[numbers[one]].id, samples[numbers[other]].id, round(found.score, 4), words, where))
            if found.score >= SURE:
                groups.join(one, other)
    return _best_of_each(pairs)


def _best_of_each(pairs: Iterable[DuplicatePair]) -> tuple[DuplicatePair, ...]:
    """Return each pair once, in descending order of score; a pair can be found both mirrored and not."""
    of: dict[tuple[str, str], list[DuplicatePair]] = defaultdict(list)
    for pair in pairs:
        of[pair.one, pair.other].append(pair)
    best = (max(each, key=lambda pair: pair.score) for each in of.values())
    return tuple(sorted(best, key=lambda pair: (-pair.score, pair.one, pair.other)))


VERSION = 2
"""Version of the cached pairs. Raise it when the same files would give other pairs, so that older results are ignored."""


def content_key(samples: Sequence[Sample]) -> str:
    """Return a hash of the samples' ids and the content of their images, whatever their order."""
    whole = hashlib.sha256(f"duplicates {VERSION}".encode())
    for sample in sorted(samples, key=lambda sample: sample.id):
        try:
            content = file_hash(sample.image)
        except OSError as error:
            raise ImageError(f"{sample.image}: can't be read ({error.strerror}). Open the data set again.") from error
        whole.update(json.dumps([sample.id, content]).encode())
    return whole.hexdigest()


def kept(key: str) -> tuple[DuplicatePair, ...] | None:
    """Return the pairs that are cached under a key, or None; a damaged file is ignored."""
    try:
        rows = json.loads(_place(key).read_text("utf-8"))
        return tuple(
            DuplicatePair(**{**row, "evidence": tuple(row["evidence"]), "placement": tuple(row["placement"])}) for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(key: str, pairs: Sequence[DuplicatePair]) -> None:
    """Cache the pairs under a key, atomically.

    A folder that can't be written to is ignored: the next call computes the pairs again.
    """
    with suppress(OSError):
        write_whole(_place(key), json.dumps([asdict(pair) for pair in pairs]).encode(), overwrite=True)


def _place(key: str) -> Path:
    return cache_folder() / "duplicates" / f"{key}.json"


SAME_FRAME = 0.87
"""Score that all but one in a hundred copies exceed, and that neighbouring frames of a recording do not reach."""


def evidence(overlap: Registration, one: tuple[int, int], other: tuple[int, int]) -> tuple[str, ...]:
    """Describe how the second scan differs from the first; sizes are height and width."""
    down, across = overlap.placement.scale
    covered_one, covered_other = overlap.covered
    words = ["same frame" if overlap.score >= SAME_FRAME else "same view, perhaps a neighbouring frame"]
    if across < 0:
        words.append("mirrored")
    pixels_down, pixels_across = down * other[0] / one[0], abs(across) * other[1] / one[1]
    if max(abs(pixels_down - 1), abs(pixels_across - 1)) > 0.02:
        even = abs(pixels_down / pixels_across - 1) < 0.02
        words.append(f"rescaled by {pixels_across:.2f}" + ("" if even else f" across and {pixels_down:.2f} down"))
    if min(covered_one, covered_other) < 0.95:
        words.append(f"cropped: the same piece is {percent(covered_one)} of the first and {percent(covered_other)} of the second")
    if abs(overlap.brightness) > 6 or not 0.9 < overlap.contrast < 1.1:
        words.append("other gain")
    if overlap.score >= SAME_FRAME and overlap.disagree > 0.01:
        words.append(f"other marks or content on {percent(overlap.disagree)} of it")
    return tuple(words)
