"""Groups of samples that belong together: patients, and copies of one scan."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from bcdseg.types import Sample

Item = TypeVar("Item", bound=Hashable)


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
