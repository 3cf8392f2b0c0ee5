"""Overlap of scans with the training data of a model.

Ids and paths may contain patients' names, so models store only hashes, and fingerprints that identify scaled or re-encoded copies.
This is not anonymisation: whoever has a scan, or guesses the name of a group, can find out whether the model was trained on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from bcdseg.data.dataset import Dataset
from bcdseg.data.hashing import BITS, NEAR, content_hash, differing_bits, fingerprint
from bcdseg.deprecation import deprecate
from bcdseg.errors import InputError, LeakError, LeakWarning, ModelFileError
from bcdseg.messages import list_some, warn_caller

if TYPE_CHECKING:
    from bcdseg.model.model import Model


@dataclass(frozen=True)
class Shared:
    """A scan that overlaps with the training or validation data of a model.

    Attributes:
        id: Id of the scan in the data set to check.
        what: Description of the overlap.
        by_name: Whether the scan itself is new, and only its data set and group have the names of a training scan's.
    """

    id: str
    what: str
    by_name: bool = False


def remember_scans(*parts: Dataset, validation: Dataset | None = None) -> dict[str, list[str]]:
    """Return the hashes that a model stores as ``training["seen"]``: of its training and validation scans and of their groups.

    Args:
        parts: Training part, validation part, and any other data that influenced the model.
        validation: The part whose scans chose the epoch and did not train the weights, where that is known.
    """
    chosen = {} if validation is None else {"validation": sorted({content_hash(sample.image) for sample in validation})}
    return chosen | {
        "contents": sorted({content_hash(sample.image) for part in parts for sample in part}),
        "fingerprints": sorted({fingerprint(sample.image) for part in parts for sample in part}),
        "groups": sorted({one for part in parts for hashes in _group_hashes(part).values() for one in hashes}),
    }


def find_seen(model: Model, dataset: Dataset) -> tuple[Shared, ...] | None:
    """Return the scans of a data set that overlap with the model's training data, or None when that is unknown.

    It is unknown when the model doesn't store that data. It is also unknown when nothing is found and the model was made from
    models that don't store theirs.

    Scans overlap when they, a copy of them or their group were in the training or validation data. The fingerprint identifies
    copies that were scaled, mirrored or saved with loss, not those that were cropped or padded, which ``bcdseg.split`` keeps on one
    side before training. Patients whose groups have different names are not found.
    """
    seen = model.training.get("seen")
    if seen is None:
        return None
    fingerprints = [fingerprint(sample.image) for sample in dataset]
    try:
        contents, groups = frozenset(map(str, seen["contents"])), frozenset(map(str, seen["groups"]))
        differing = differing_bits(fingerprints, seen.get("fingerprints", ()))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{model.name}: its record of training scans is damaged ({error!r}). Save the model again.") from error
    shared = tuple(_shared(dataset, contents, groups, differing.tolist()))
    return shared if shared or not seen.get("unknown") else None


def exclude_training_samples(model: Model, dataset: Dataset) -> Dataset:
    """Return the scans that were not in the training data of a model, and have no copy and no group there.

    Copies that were scaled, mirrored or saved with loss are found; cropped ones are not.

    Args:
        model: Model that stores the hashes of its training data: a bundled one, or one trained by ``bcdseg.fit``.
        dataset: Scans to select from.

    Warns:
        LeakWarning: New scans are left out because their data set and their group have the names of a training scan's.

    Raises:
        InputError: The model doesn't store all scans that it was trained on.
    """
    shared = find_seen(model, dataset)
    if shared is None or model.training["seen"].get("unknown"):
        raise InputError(f"{model.name}: doesn't store all scans that it was trained on, so they can't be excluded.")
    if same := _same_names(shared, dataset):
        warn_caller(f"{dataset.name}: {same} They were left out.", LeakWarning)
    left_out = {one.id for one in shared}
    return dataset.select(name for name in dataset.ids if name not in left_out)


def unseen(model: Model, dataset: Dataset) -> Dataset:
    """Return the same scans as ``exclude_training_samples``, which replaces this function."""
    deprecate("bcdseg.unseen", "bcdseg.exclude_training_samples", since="0.2.0")
    return exclude_training_samples(model, dataset)


def refuse_seen(model: Model, dataset: Dataset, *, can_allow: bool = False) -> bool:
    """Raise when a data set shares a scan or a group with the training or validation data of a model.

    Args:
        model: Model to check.
        dataset: Scans to check.
        can_allow: Whether the caller has an option that allows training scans, for the message.

    Returns:
        True when nothing is shared, False when the model doesn't store all scans that it was trained on.

    Raises:
        LeakError: The data overlap; the message names the scans and what they share.
    """
    shared = find_seen(model, dataset)
    if shared:
        lines = list_some([f"{one.id}: {one.what}" for one in shared])
        allow = ", or allow them on purpose (allow_training_samples=True, --allow-training-samples)" if can_allow else ""
        same = _same_names(shared, dataset)
        raise LeakError(
            f"{dataset.name}: {len(shared)} of these {len(dataset)} scans, or other scans of their groups, are in the training or "
            f"validation data of {model.name}; the results would be too good. "
            f"Exclude them (bcdseg.exclude_training_samples, --exclude-training-samples){allow}.{' ' * bool(same)}{same}\n{lines}"
        )
    return shared is not None


def warn_of_training_scans(model: Model, dataset: Dataset) -> None:
    """Warn if rules would be fitted on scans that the weights were trained on; the validation scans of the run are fine."""
    seen = model.training.get("seen", {})
    validation = frozenset(seen.get("validation", ()))
    others = dataset.select(sample.id for sample in dataset if content_hash(sample.image) not in validation)
    if shared := find_seen(model, others):
        what = "training data" if "validation" in seen else "training or validation data"
        warn_caller(
            f"{dataset.name}: {len(shared)} of these {len(dataset)} scans, or other scans of their groups, are in the {what} of "
            f"{model.name}. Its predictions are better there than on new scans, so that thresholds and operating points will not "
            "reach the same sensitivity and specificity elsewhere. Calibrate on other scans: "
            "bcdseg.exclude_training_samples(model, data) returns them.",
            LeakWarning,
        )


def _shared(dataset: Dataset, contents: frozenset[str], groups: frozenset[str], differing: Sequence[int]) -> Iterator[Shared]:
    hashes = _group_hashes(dataset)
    for sample, bits in zip(dataset, differing, strict=True):
        if (content := content_hash(sample.image)) in contents:
            yield Shared(sample.id, f"this image is in the training or validation data (hash {content[:12]})")
        elif bits <= NEAR:
            yield Shared(
                sample.id,
                f"a copy of it is in the training or validation data ({bits} of the {BITS} bits of its fingerprint differ)",
            )
        elif not groups.isdisjoint(hashes[sample.id]):
            what = f"scans of a group {sample.group!r} of a data set with the same name are in the training or validation data"
            yield Shared(sample.id, what, by_name=True)


def _same_names(shared: Sequence[Shared], dataset: Dataset) -> str:
    """Return a sentence on scans that only share the names of their data set and group, or an empty text."""
    count = sum(one.by_name for one in shared)
    if not count:
        return ""
    return (
        f"{count} of them are new images whose data set ({dataset.name}) and group have the names of a training scan's. If they "
        "are from another hospital, open them under a name of its own: bcdseg.open_dataset(..., name=...), or rename the folder or "
        "table."
    )


def _group_hashes(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """Return, for each sample, the hashes of the patients in its group, each under its data set's name.

    A group contains several patients when a copy of a scan joins them.
    """
    owners = {sample.id.partition("/")[0] for sample in dataset} if dataset.layout == "combined" else set()
    return {sample.id: tuple(map(_hash, _full_names(sample.group, dataset.name, owners))) for sample in dataset}


def _full_names(group: str | None, owner: str, owners: set[str]) -> Iterator[str]:
    """Yield each patient's name with its owner; ``combine`` prefixes the owner once for all patients that were joined before."""
    for name in group.split(" + ") if group is not None else ():
        first, _, rest = name.partition("/")
        owner, bare = (first, rest) if first in owners else (owner, name)
        yield f"{owner}/{bare}"


def _hash(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


OVERLAP = {
    "none": "The model's record of its training data contains none of these scans, no detected copy of them and none of their "
    "groups.",
    "unknown": "The training data of this model are not known: overlap with these scans can't be ruled out.",
    "allowed": "Some of these scans, or other scans of their groups, are in the training or validation data of the model, which "
    "was evaluated on them on purpose: these results show how well it remembers, not how good it is.",
}
