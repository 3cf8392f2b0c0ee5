"""Detection of leakage between the parts of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

from bcdseg.data.dataset import Dataset
from bcdseg.data.hashing import content_hash
from bcdseg.errors import LeakError
from bcdseg.messages import list_some
from bcdseg.types import Sample


def check_disjoint(**parts: Dataset) -> None:
    """Raise an error if parts share a group, or if files in two parts have the same pixels.

    Every image is read once, and its content hash is cached (see ``content_hash``), so that renamed files are found too.

    Args:
        parts: Data sets by the names that the error message uses, as in ``check_disjoint(train=train, test=test)``.

    Raises:
        LeakError: Two parts share a group or an image; the message names the pairs.
    """
    found = []
    for (one, first), (other, second) in combinations(parts.items(), 2):
        shared = [
            *((a, b, f"the group {a.group!r}") for a, b in _shared(first, second, lambda sample: sample.group)),
            *((a, b, "the same picture") for a, b in _shared(first, second, lambda sample: content_hash(sample.image))),
        ]
        found += [f"{a.id} ({one}) and {b.id} ({other}): {what}" for a, b, what in shared]
    if found:
        raise LeakError(f"Parts share groups or scans; make them with bcdseg.split, or leave these out.\n{list_some(found)}")


def _shared(first: Dataset, second: Dataset, key: Callable[[Sample], str | None]) -> Iterator[tuple[Sample, Sample]]:
    """Yield one pair of samples for each key that occurs in both data sets."""
    keys = {key(sample): sample for sample in first}
    keys.pop(None, None)
    for sample in second:
        if (other := keys.pop(key(sample), None)) is not None:
            yield other, sample
