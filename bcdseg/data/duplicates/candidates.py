"""Candidate pairs of scans that share similar blobs in a similar arrangement.

Descriptors are sorted into buckets by the signs of random projections (locality-sensitive hashing), so the cost grows with the
number of scans and not with the number of pairs. Content that very many scans share, such as a scanner's text, fills buckets
without bound; each blob is compared with only a few random entries of a full bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.duplicates.descriptors import Description, Floats, mirror_signs

Ints = NDArray[np.int64]

ALIKE = 0.85  # one in a hundred thousand pairs of unrelated blobs is as similar
TABLES = 10
BUCKET = 48  # entries of a bucket that one blob is compared with
PARTNERS = 48  # matches that one blob may keep
CHUNK = 1 << 16  # blobs that are looked up together, which bounds the memory
FEWEST = 4  # consistent matches that make a candidate
NEAR = 0.025  # largest distance of a match from its predicted position, as a fraction of the scan's side
STRONGEST = 32  # matches from which placements are estimated


@dataclass(frozen=True)
class Placement:
    """The placement of a scan in another: ``other = scale * one + shift`` for rows and for columns, in fractions of the sides."""

    scale: tuple[float, float]
    shift: tuple[float, float]


@dataclass(frozen=True)
class Candidate:
    """Two scans by their index, and the placement of the first in the second."""

    one: int
    other: int
    placement: Placement
    matches: int


def candidates(descriptions: Sequence[Description]) -> Iterator[Candidate]:
    """Yield pairs of scans with enough matching blobs that agree on one placement."""
    counts = np.array([len(each.points) for each in descriptions])
    if len(counts) < 2 or counts.sum() == 0:
        return
    scan = np.repeat(np.arange(len(counts)), counts)
    points = np.concatenate([each.points for each in descriptions])
    one, other, mirrored, alike = _matches(descriptions, scan)
    pair = (scan[one] * len(counts) + scan[other]) * 2 + mirrored
    order = np.lexsort((-alike, pair))
    starts = np.flatnonzero(np.r_[True, np.diff(pair[order]) > 0])
    for members in np.split(order, starts[1:]):
        if len(members) < FEWEST:
            continue
        placed = _placed(points[one[members]].astype(np.float64), points[other[members]].astype(np.float64))
        if placed is not None:
            first = members[0]
            yield Candidate(int(scan[one[first]]), int(scan[other[first]]), *placed)


def _matches(descriptions: Sequence[Description], scan: Ints) -> tuple[Ints, Ints, NDArray[np.bool_], Floats]:
    """Return matches of similar blobs: the index of each (the second from a later scan), whether mirrored, and the similarity."""
    textures = np.concatenate([each.textures for each in descriptions])
    stretched = np.concatenate([each.stretched for each in descriptions])
    random = np.random.default_rng(0)
    bits = int(np.clip(np.ceil(np.log2(len(textures))) - 1, 8, 20))
    found: list[tuple[Ints, Ints, NDArray[np.bool_], Floats]] = []
    for _ in range(TABLES):
        planes = np.linalg.qr(random.normal(size=(textures.shape[1], textures.shape[1])))[0][:, :bits].astype(np.float32)
        keys = _keys(textures, planes)
        order = np.argsort(keys, kind="stable")
        for mirrored in (False, True):
            for queries, symmetric in ((textures, True), (stretched, False)):
                for start in range(0, len(textures), CHUNK):
                    query = queries[start : start + CHUNK] * (mirror_signs() if mirrored else np.float32(1))
                    rows, hits = _bucket_mates(_keys(query, planes), keys[order], random)
                    one, other = rows + start, order[hits]
                    # Descriptors are both queries and table entries and find each pair twice; stretched ones are only queries.
                    useful = scan[one] < scan[other] if symmetric else scan[one] != scan[other]
                    rows, one, other = rows[useful], one[useful], other[useful]
                    alike = np.einsum("ij,ij->i", query[rows], textures[other])
                    good = alike > ALIKE
                    found.append((one[good], other[good], np.full(good.sum(), mirrored), alike[good]))
    one, other, mirrored_, alike = (np.concatenate(column) for column in zip(*found, strict=True))
    later = scan[one] > scan[other]
    one, other = np.where(later, other, one), np.where(later, one, other)
    return _thinned(one, other, mirrored_, alike, random)


def _keys(textures: Floats, planes: Floats) -> Ints:
    return ((textures @ planes) > 0) @ (1 << np.arange(planes.shape[1]))


def _bucket_mates(keys: Ints, table: Ints, random: np.random.Generator) -> tuple[Ints, Ints]:
    """Return the positions of each key in the sorted table; a full bucket contributes a run of entries from a random start."""
    first, last = np.searchsorted(table, keys, "left"), np.searchsorted(table, keys, "right")
    size = last - first
    count = np.minimum(size, BUCKET)
    first = first + (random.random(len(size)) * (size - count + 1)).astype(np.int64)
    rows = np.repeat(np.arange(len(keys)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, first[rows] + within


def _thinned(
    one: Ints, other: Ints, mirrored: NDArray[np.bool_], alike: Floats, random: np.random.Generator
) -> tuple[Ints, Ints, NDArray[np.bool_], Floats]:
    """Return each match once, and a random few of a blob with very many, so that common annotations connect no scans."""
    code = (one * (int(other.max(initial=0)) + 1) + other) * 2 + mirrored
    kept = np.unique(code, return_index=True)[1]
    for end in (one, other):
        kept = random.permutation(kept)
        kept = kept[np.argsort(end[kept], kind="stable")]
        ends = end[kept]
        kept = kept[np.arange(len(kept)) - np.searchsorted(ends, ends) < PARTNERS]
    return one[kept], other[kept], mirrored[kept], alike[kept]


def _placed(here: NDArray[np.float64], there: NDArray[np.float64]) -> tuple[Placement, int] | None:
    """Estimate the placement with which most matches agree, from matches in descending order of similarity."""
    a, b = np.triu_indices(min(len(here), STRONGEST), 1)
    apart = here[a] - here[b]
    far = (abs(apart) > 0.08).all(1)
    a, b, apart = a[far], b[far], apart[far]
    if not len(a):
        return None
    scale = (there[a] - there[b]) / apart
    size = abs(scale)
    possible = (size > 0.4).all(1) & (size < 2.5).all(1) & (size.max(1) < 2 * size.min(1))
    scale, a = scale[possible], a[possible]
    if not len(a):
        return None
    shift = there[a] - scale * here[a]
    off = abs(scale[:, None] * here[None] + shift[:, None] - there[None]).max(2)
    agree = off < NEAR * np.maximum(1, abs(scale).max(1))[:, None]
    inside = agree[agree.sum(1).argmax()]
    distinct = min(len(np.unique(points[inside], axis=0)) for points in (here, there))
    if distinct < FEWEST:
        return None
    fits = [np.polyfit(here[inside, axis], there[inside, axis], 1) for axis in (0, 1)]
    (down, top), (across, left) = fits
    return Placement((float(down), float(across)), (float(top), float(left))), distinct
