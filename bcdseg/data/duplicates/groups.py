"""Groups of near-duplicates, built from pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

SURE = 0.7
"""Score from which a pair alone is enough to join two groups."""


@dataclass(frozen=True)
class DuplicatePair:
    """Two scans that are nearly the same.

    Attributes:
        one: Id of the first scan.
        other: Id of the second scan.
        score: Correlation of the texture, from 0 to 1, that two thirds of the overlap reach.
        evidence: Description in words: ``same frame``, ``mirrored``, ``rescaled by 0.83``, ``other gain`` ...
        placement: Placement of the first scan in the second: scale down and across, shift down and across, in fractions of the
            sides; a mirrored scan has a negative scale across.
    """

    one: str
    other: str
    score: float
    evidence: tuple[str, ...]
    placement: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)


class Joined:
    """A disjoint-set (union-find) data structure."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}
        self._size: dict[Hashable, int] = {}

    def root(self, thing: Hashable) -> Hashable:
        """Return the representative of the set that an item is in."""
        while (above := self._above.get(thing, thing)) != thing:
            self._above[thing] = self._above.get(above, above)
            thing = above
        return thing

    def join(self, one: Hashable, other: Hashable) -> None:
        """Merge the sets of two items."""
        first, second = self.root(one), self.root(other)
        if first != second:
            self._above[first] = second
            self._size[second] = self._size.get(first, 1) + self._size.get(second, 1)

    def together(self, one: Hashable, other: Hashable) -> bool:
        """Return whether two items are in the same set."""
        return self.root(one) == self.root(other)

    def size(self, thing: Hashable) -> int:
        """Return the number of items in the set of an item, itself included."""
        return self._size.get(self.root(thing), 1)


def grouped(pairs: Iterable[DuplicatePair]) -> tuple[tuple[str, ...], ...]:
    """Return groups of two or more ids.

    A pair with a score of at least ``SURE`` always joins two groups. A pair with a lower score joins a single scan to a group, but
    two groups only if a second pair also connects them.
    """
    ordered = sorted(pairs, key=lambda pair: (-pair.score, pair.one, pair.other))
    joined = Joined()
    for pair in ordered:
        if pair.score >= SURE:
            joined.join(pair.one, pair.other)
    links: dict[frozenset[Hashable], list[DuplicatePair]] = defaultdict(list)
    for pair in ordered:
        links[frozenset((joined.root(pair.one), joined.root(pair.other)))].append(pair)
    enough = [ties[0] for ends, ties in links.items() if len(ties) > 1 or min(map(joined.size, ends)) == 1]
    for pair in enough:
        joined.join(pair.one, pair.other)
    groups: dict[Hashable, set[str]] = defaultdict(set)
    for pair in ordered:
        groups[joined.root(pair.one)].add(pair.one)
        groups[joined.root(pair.other)].add(pair.other)
    return tuple(sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1))
