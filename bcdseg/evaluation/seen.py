"""What a model has seen: it keeps hashes of the scans and groups of its training, and is not measured on them.

Only hashes are kept: ids and paths may hold patients' names. They are not anonymisation: whoever has a scan, or guesses the name
of a group, can find out whether the model has seen it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from bcdseg.data.content import content_hash
from bcdseg.data.dataset import Dataset
from bcdseg.errors import LeakError, ModelFileError

MOST_NAMED = 10


class Trained(Protocol):
    """As much of a model as is looked at here."""

    name: str
    training: dict[str, Any]


@dataclass(frozen=True)
class Shared:
    """A scan that has something in common with what a model was trained or chosen on.

    Attributes:
        id: The scan's id in the data set at hand.
        what: What is shared, in words.
    """

    id: str
    what: str


def remember(*parts: Dataset) -> dict[str, list[str]]:
    """What a model keeps as ``training["seen"]``: hashes of every scan and group that it was trained or chosen on.

    Args:
        parts: The training part, the validation part, and whatever else had a say in the model.
    """
    return {
        "contents": sorted({content_hash(sample.image) for part in parts for sample in part}),
        "groups": sorted({one for part in parts for hashes in _group_hashes(part).values() for one in hashes}),
    }


def find_seen(model: Trained, dataset: Dataset) -> tuple[Shared, ...] | None:
    """The scans of a data set that the model has seen, or whose group it has; None where the model doesn't say what it has seen.

    Copies that are not the same to the pixel, and patients whose groups have other names, are not found: ``bcdseg.split`` keeps
    those on one side before training.
    """
    seen = model.training.get("seen")
    if seen is None:
        return None
    try:
        contents, groups = frozenset(map(str, seen["contents"])), frozenset(map(str, seen["groups"]))
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{model.name}: what it says it has seen is damaged ({error!r}). Save the model again.") from error
    return tuple(_shared(dataset, contents, groups))


def refuse_seen(model: Trained, dataset: Dataset) -> bool:
    """Refuse a data set that shares a scan or a group with what the model was trained or chosen on.

    Returns:
        True where nothing is shared, False where the model doesn't say what it has seen.

    Raises:
        LeakError: The message names the scans and what they share.
    """
    shared = find_seen(model, dataset)
    if shared:
        lines = "\n".join(f"  {one.id}: {one.what}" for one in shared[:MOST_NAMED])
        more = f"\n  and {len(shared) - MOST_NAMED} more" if len(shared) > MOST_NAMED else ""
        raise LeakError(
            f"{dataset.name}: {model.name} was trained or chosen on {len(shared)} of these {len(dataset)} scans or their groups; "
            "figures would be too good. Take a part that it has not seen (the run's seen.csv lists what it has), "
            f"or allow it on purpose: allow_seen=True, --allow-seen.\n{lines}{more}"
        )
    return shared is not None


def _shared(dataset: Dataset, contents: frozenset[str], groups: frozenset[str]) -> Iterator[Shared]:
    hashes = _group_hashes(dataset)
    for sample in dataset:
        if (content := content_hash(sample.image)) in contents:
            yield Shared(sample.id, f"the model has seen this very picture (hash {content[:12]})")
        elif not groups.isdisjoint(hashes[sample.id]):
            yield Shared(sample.id, f"the model has seen scans of its group {sample.group!r}")


def _group_hashes(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """For each sample the patients in its group, which may be several joined by a copy, each under its data set's name."""
    owners = {sample.id.partition("/")[0] for sample in dataset} if dataset.layout == "combined" else set()
    return {sample.id: tuple(map(_hash, _full_names(sample.group, dataset.name, owners))) for sample in dataset}


def _full_names(group: str | None, owner: str, owners: set[str]) -> Iterator[str]:
    """``combine`` puts the owner before the group, once for all patients that were joined before it."""
    for name in group.split(" + ") if group is not None else ():
        first, _, rest = name.partition("/")
        owner, bare = (first, rest) if first in owners else (owner, name)
        yield f"{owner}/{bare}"


def _hash(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
