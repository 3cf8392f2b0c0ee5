"""Groups of samples that belong together (patients, and copies of one scan), assigned to the parts of a split and checked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.hashing import content_hash
from bcdseg.errors import LeakError, OptionError
from bcdseg.messages import list_some
from bcdseg.types import Sample

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

Item = TypeVar("Item", bound=Hashable)


class Findings(Protocol):
    """The part of an audit's result that a data set needs: groups of sample ids."""

    @property
    def duplicate_groups(self) -> Sequence[Sequence[str]]:
        """Groups of samples that show the same frame."""

    @property
    def conflicts(self) -> Sequence[Sequence[str]]:
        """Groups of samples that show the same frame and have different labels."""


@dataclass(frozen=True)
class KnownDuplicates:
    """Duplicates that an audit found.

    Attributes:
        scans: Ids and image files of the scans among which the audit searched.
        groups: Groups of ids that show the same scan.
    """

    scans: frozenset[tuple[str, Path]]
    groups: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, audit: Findings) -> KnownDuplicates:
        """Return the duplicates of an audit; findings from elsewhere may not have the samples that were searched."""
        searched: Iterable[Sample] = getattr(audit, "samples", ())
        groups = tuple(tuple(group) for group in audit.duplicate_groups)
        return cls(frozenset((sample.id, sample.image) for sample in searched), groups)

    def cover(self, samples: Iterable[Sample]) -> bool:
        """Return whether the audit searched all of these samples."""
        return all((sample.id, sample.image) in self.scans for sample in samples)


def representatives(links: Iterable[Sequence[Item]]) -> dict[Item, Item]:
    """Return a representative for each item, which is the same for all items that are linked, directly or through others."""
    parent: dict[Item, Item] = {}

    def root(item: Item) -> Item:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for link in links:
        for item in link:
            parent[root(item)] = root(link[0])
    return {item: root(item) for item in parent}


def merged_groups(samples: Sequence[Sample], duplicates: Iterable[Sequence[str]]) -> list[str | None]:
    """Return the group of each sample after patients and duplicates are merged, or None for a sample without either.

    A scan that is a duplicate of another patient's scan merges the groups of both patients.
    """
    known = {sample.id for sample in samples}
    links: list[list[tuple[str, str]]] = [[("id", one) for one in group if one in known] for group in duplicates]
    links += [[("group", sample.group), ("id", sample.id)] for sample in samples if sample.group is not None]
    root_of = representatives(link for link in links if len(link) > 1)
    patients: dict[tuple[str, str], set[str]] = {}
    for (kind, name), one in root_of.items():
        if kind == "group":
            patients.setdefault(one, set()).add(name)
    names = {one: " + ".join(sorted(joint)) for one, joint in patients.items()}
    merged: list[str | None] = []
    for sample in samples:
        own = root_of.get(("id", sample.id))
        merged.append(None if own is None else names.setdefault(own, f"same scan as {sample.id}"))
    return merged


def all_but_first(samples: Sequence[Sample], duplicates: Sequence[Sequence[str]]) -> set[str]:
    """Return the ids of all copies except the one to keep of each group."""
    rank = {sample.id: (sample.label is None, not sample.masks, at) for at, sample in enumerate(samples)}
    copies = [sorted((one for one in group if one in rank), key=rank.__getitem__) for group in duplicates]
    return {one for group in copies for one in group[1:]}


def number_groups(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Return the number of each sample's group; a sample without a group gets a number of its own."""
    numbers: dict[tuple[str, str], int] = {}
    keys = (("id", sample.id) if sample.group is None else ("group", sample.group) for sample in samples)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _strata(samples: Sequence[Sample]) -> list[str]:
    return [f"{'with' if sample.masks else 'without'} mask, label {sample.label}" for sample in samples]


def count_features(samples: Sequence[Sample], units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count the scans of each group (row) per class, per class with and without masks, and in total (columns)."""
    labels = [sample.label or "" for sample in samples]
    kinds = [*sorted(set(labels) - {""}), *sorted(set(_strata(samples)))]
    column = {kind: at for at, kind in enumerate(kinds)}
    counts = np.zeros((int(units.max(initial=-1)) + 1, len(kinds) + 1))
    for unit, label, stratum in zip(units, labels, _strata(samples), strict=True):
        counts[unit, [*([column[label]] if label else []), column[stratum], -1]] += 1
    return counts


def assign_groups(counts: NDArray[np.float64], fractions: NDArray[np.float64], classes: int, seed: int) -> NDArray[np.int64]:
    """Assign each group to a part: the largest groups first, each where it brings the parts nearest to their fractions.

    The distance is relative to a part's fraction: otherwise all large groups would go to the largest part, and the test part would
    contain only scans without a group.

    scikit-learn's StratifiedGroupKFold does this for equal parts without a better balance, and may leave a part without a class.
    """
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    total = counts.sum(axis=0)
    missing = np.outer(fractions, total)
    part_of = np.zeros(len(counts), np.int64)
    for unit in order:
        change = (counts[unit] ** 2 - 2 * counts[unit] * missing) / total
        part_of[unit] = (change.sum(axis=1) / fractions).argmin()
        missing[part_of[unit]] -= counts[unit]
    for column in np.argsort(total[:classes], kind="stable"):
        _fill_classes(counts[:, column], part_of, len(fractions), order[::-1])
    return part_of


def _fill_classes(count: NDArray[np.float64], part_of: NDArray[np.int64], parts: int, order: NDArray[np.int64]) -> None:
    """Move a small group of a class to each part that lacks the class, from the part with the most groups of it."""
    for part in range(parts):
        having = [np.flatnonzero((part_of == at) & (count > 0)) for at in range(parts)]
        if not len(having[part]):
            richest = set(max(having, key=len).tolist())
            part_of[next(unit for unit in order if unit in richest)] = part


def check_disjoint(**parts: Dataset) -> None:
    """Raise an error if parts share a group, or if files in two parts have the same pixels.

    Every image is read once, and its content hash is cached (see ``content_hash``), so that renamed files are found too.

    Args:
        parts: Two or more data sets by the names that the error message uses, as in ``check_disjoint(train=train, test=test)``.

    Raises:
        LeakError: Two parts share a group or an image; the message names the pairs.
        OptionError: Fewer than two parts are given.
    """
    if len(parts) < 2:
        raise OptionError(f"{', '.join(parts) or 'no part'}: give two or more data sets, as in train=train, test=test.")
    found = []
    for (one, first), (other, second) in combinations(parts.items(), 2):
        shared = [
            *((a, b, f"the group {a.group!r}") for a, b in _shared(first, second, lambda sample: sample.group)),
            *((a, b, "the same picture") for a, b in same_pictures(first, second)),
        ]
        found += [f"{a.id} ({one}) and {b.id} ({other}): {what}" for a, b, what in shared]
    if found:
        raise LeakError(f"Parts share groups or scans; make them with bcdseg.split, or leave these out.\n{list_some(found)}")


def same_pictures(first: Dataset, second: Dataset) -> Iterator[tuple[Sample, Sample]]:
    """Yield the pairs of samples of two data sets whose files have the same pixels."""
    return _shared(first, second, lambda sample: content_hash(sample.image))


def _shared(first: Dataset, second: Dataset, key: Callable[[Sample], str | None]) -> Iterator[tuple[Sample, Sample]]:
    """Yield one pair of samples for each key that occurs in both data sets."""
    keys = {key(sample): sample for sample in first}
    keys.pop(None, None)
    for sample in second:
        if (other := keys.pop(key(sample), None)) is not None:
            yield other, sample


def check_same_data(dataset: Dataset, groups: Iterable[Sequence[str]]) -> None:
    """Raise an error if the data set has none of the ids in the groups; some may be missing, since it may be a selection."""
    named = {one for group in groups for one in group}
    if named and named.isdisjoint(dataset.ids):
        raise OptionError(
            f"{min(named)}: neither this nor any other of these ids is in {dataset.name}: they are of another data set."
        )
