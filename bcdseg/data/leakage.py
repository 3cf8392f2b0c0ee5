"""Checks that parts share no scan and no group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

from bcdseg.data.dataset import Dataset
from bcdseg.data.hashing import content_hash
from bcdseg.errors import LeakError
from bcdseg.types import Sample

MOST_NAMED = 10


def check_disjoint(**parts: Dataset) -> None:
    """Refuse parts that share a group, or the content of a file under whatever name.

    Every image is read once; what it shows is remembered (see ``content_hash``).

    Args:
        parts: By the names that the message is to use, as in ``check_disjoint(train=train, test=test)``.

    Raises:
        LeakError: The message names the pairs.
    """
    found = []
    for (one, first), (other, second) in combinations(parts.items(), 2):
        shared = [
            *((a, b, f"the group {a.group!r}") for a, b in _shared(first, second, lambda sample: sample.group)),
            *((a, b, "the same picture") for a, b in _shared(first, second, lambda sample: content_hash(sample.image))),
        ]
        found += [f"{a.id} ({one}) and {b.id} ({other}): {what}" for a, b, what in shared]
    if found:
        lines = "\n".join(f"  {line}" for line in found[:MOST_NAMED])
        more = f"\n  and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise LeakError(f"Parts share groups or scans; make them with bcdseg.split, or leave these out.\n{lines}{more}")


def _shared(first: Dataset, second: Dataset, key: Callable[[Sample], str | None]) -> Iterator[tuple[Sample, Sample]]:
    """One pair for each key that both have."""
    keys = {key(sample): sample for sample in first}
    keys.pop(None, None)
    for sample in second:
        if (other := keys.pop(key(sample), None)) is not None:
            yield other, sample
