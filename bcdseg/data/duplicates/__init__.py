"""Scans that are the same frame twice: rescaled, cropped, mirrored, brighter, with marks, or compressed again.

In three steps, each of which leaves less to the next: every scan is described by some hundred blobs of its texture
(``descriptors``), scans that share blobs in one consistent placement become candidates (``candidates``), and the
texture of candidates is compared pixel by pixel where they overlap (``verify``). The pairs make groups (``groups``).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from bcdseg.data.duplicates import cache as store
from bcdseg.data.duplicates.groups import SURE, Joined, Pair, grouped
from bcdseg.types import Sample

__all__ = ["SAME", "SURE", "Duplicates", "Pair", "Progress", "duplicate_groups", "find_duplicates"]

SAME = 0.33
"""The least score of a pair. Unrelated scans stay below 0.3, nearly all copies are above 0.8, neighbouring frames between."""

ENOUGH = 12
"""Scans of a group from which on its other pairs are not compared: a set with a hundred copies of each scan stays cheap."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many are done, and of how many."""


@dataclass(frozen=True)
class Duplicates:
    """Near-duplicates of a set of scans: ``pairs``, best first, and ``groups`` of their ids."""

    pairs: tuple[Pair, ...]

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Groups of two ids or more."""
        return grouped(self.pairs)


def find_duplicates(samples: Iterable[Sample], *, cache: bool = True, progress: Progress | None = None) -> Duplicates:
    """Find the scans that are nearly the same, whatever their labels.

    Args:
        samples: A data set, or any samples with different ids.
        cache: Keep what was found in the user's cache folder, and take it from there next time.
        progress: Called as the work goes on.

    Raises:
        ImageError: An image can't be read.
    """
    samples = list(samples)
    key = store.content_key(samples) if cache else ""
    known = store.kept(key) if cache else None
    if known is None:
        known = _pairs(samples, progress or (lambda *_: None))
        if cache:
            store.keep(key, known)
    return Duplicates(known)


def duplicate_groups(dataset: Iterable[Sample]) -> tuple[tuple[str, ...], ...]:
    """Groups of two sample ids or more that are nearly the same scan; computed once for the same files."""
    return find_duplicates(dataset).groups


def _pairs(samples: Sequence[Sample], progress: Progress) -> tuple[Pair, ...]:
    from bcdseg.data.duplicates.candidates import candidates
    from bcdseg.data.duplicates.descriptors import Description, describe, even_out, tissue_in
    from bcdseg.data.duplicates.evidence import evidence
    from bcdseg.data.duplicates.verify import Laid, overlap
    from bcdseg.data.images import to_gray, to_uint8
    from bcdseg.data.scans import read_scan
    from bcdseg.data.threads import mapped

    def look(sample: Sample) -> tuple[bytes, Description]:
        gray = to_uint8(to_gray(read_scan(sample.image).pixels))
        return hashlib.sha256(np.ascontiguousarray(gray).tobytes() + repr(gray.shape).encode()).digest(), describe(gray)

    first: dict[bytes, int] = {}
    copies: list[Pair] = []
    described: dict[int, Description] = {}
    for number, (content, description) in enumerate(mapped(look, samples, lambda done: progress("describing", done, len(samples)))):
        original = first.setdefault(content, number)
        if original == number:
            described[number] = description
        else:
            copies.append(Pair(samples[original].id, samples[number].id, 1.0, ("same pixels",)))

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
            pairs.append(Pair(samples[numbers[one]].id, samples[numbers[other]].id, round(found.score, 4), words, where))
            if found.score >= SURE:
                groups.join(one, other)
    return _best_of_each(pairs)


def _best_of_each(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Each pair once (it can be found both mirrored and not), best first."""
    of: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        of[pair.one, pair.other].append(pair)
    best = (max(each, key=lambda pair: pair.score) for each in of.values())
    return tuple(sorted(best, key=lambda pair: (-pair.score, pair.one, pair.other)))
