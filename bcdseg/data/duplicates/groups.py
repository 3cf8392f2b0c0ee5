"""Pairs into groups, so that one doubtful pair does not chain two sets of twins together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SURE = 0.7
"""The score from which on a pair alone is enough to join two groups."""


@dataclass(frozen=True)
class Pair:
    """Two scans that are nearly the same.

    Attributes:
        one: Id of the first scan.
        other: Id of the second scan.
        score: Mean correlation of their texture where they overlap, 0 to 1.
        evidence: What was seen, in words: ``same frame``, ``mirrored``, ``rescaled by 0.83``, ``other gain`` ...
        placement: Where the first lies in the second: scale down and across, shift down and across, in fractions of the
            sides; a mirrored scan has a negative scale across.
    """

    one: str
    other: str
    score: float
    evidence: tuple[str, ...]
    placement: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)


def grouped(pairs: Iterable[Pair]) -> tuple[tuple[str, ...], ...]:
    """Groups of two ids or more.

    Sure pairs always join. A doubtful one joins a single scan to a group, but two groups only where a second pair
    says the same.
    """
    ordered = sorted(pairs, key=lambda pair: (-pair.score, pair.one, pair.other))
    home = {name: name for pair in ordered for name in (pair.one, pair.other)}
    sure = [pair for pair in ordered if pair.score >= SURE]
    _join(home, sure)
    doubtful = [pair for pair in ordered if pair.score < SURE]
    size: dict[str, int] = defaultdict(int)
    for name in home:
        size[_root(home, name)] += 1
    links: dict[frozenset[str], list[Pair]] = defaultdict(list)
    for pair in doubtful:
        links[frozenset((_root(home, pair.one), _root(home, pair.other)))].append(pair)
    agreed = [between[0] for ends, between in links.items() if len(between) > 1 or min(size[end] for end in ends) == 1]
    _join(home, agreed)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(home):
        groups[_root(home, name)].append(name)
    return tuple(sorted(tuple(group) for group in groups.values() if len(group) > 1))


def _join(home: dict[str, str], pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        home[_root(home, pair.one)] = _root(home, pair.other)


def _root(home: dict[str, str], name: str) -> str:
    while home[name] != name:
        home[name] = home[home[name]]
        name = home[name]
    return name
