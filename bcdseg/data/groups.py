"""Which samples belong together: those of one patient, and those that show the same frame."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from bcdseg.types import Sample

Item = TypeVar("Item", bound=Hashable)


def joined(ties: Iterable[Sequence[Item]]) -> dict[Item, Item]:
    """Tie items together, transitively: item -> the one item that stands for all that are tied to it."""
    parent: dict[Item, Item] = {}

    def top(item: Item) -> Item:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for tie in ties:
        for item in tie:
            parent[top(item)] = top(tie[0])
    return {item: top(item) for item in parent}


def merged_groups(samples: Sequence[Sample], duplicates: Iterable[Sequence[str]]) -> list[str | None]:
    """The group of each sample when its patient and its duplicates are taken together; None for one that stands alone.

    A patient with a scan that is a duplicate of another patient's scan makes one group of both.
    """
    known = {sample.id for sample in samples}
    ties: list[list[tuple[str, str]]] = [[("id", one) for one in group if one in known] for group in duplicates]
    ties += [[("group", sample.group), ("id", sample.id)] for sample in samples if sample.group is not None]
    top = joined(tie for tie in ties if len(tie) > 1)
    patients: dict[tuple[str, str], set[str]] = {}
    for (kind, name), one in top.items():
        if kind == "group":
            patients.setdefault(one, set()).add(name)
    names = {one: " + ".join(sorted(joint)) for one, joint in patients.items()}
    merged: list[str | None] = []
    for sample in samples:
        own = top.get(("id", sample.id))
        merged.append(None if own is None else names.setdefault(own, f"same scan as {sample.id}"))
    return merged
