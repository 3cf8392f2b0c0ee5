"""Class labels: their order, spellings that are unified, and classes that are renamed, merged or removed."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from bcdseg.errors import DatasetError, DataWarning, OptionError
from bcdseg.messages import counted, warn_caller
from bcdseg.types import LesionMask, Sample, as_text

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

USUAL_ORDER = ("normal", "benign", "malignant")
ClassMap = Mapping[str, str | None]
"""Classes by label; None removes the samples with that label."""


def class_order(label: str) -> tuple[int, str]:
    """Return the sort key of classes: the usual ones first, then the others in alphabetical order."""
    low = label.lower()
    return (USUAL_ORDER.index(low) if low in USUAL_ORDER else len(USUAL_ORDER), label)


def unify_spellings(samples: Iterable[Sample], name: str) -> list[Sample]:
    """Return the samples with one spelling of each class, and warn of those that are replaced.

    Spellings that differ in case, in surrounding spaces or in their Unicode form are one class. A usual class keeps its usual
    spelling; else the most frequent one is kept.

    Args:
        samples: The samples.
        name: Name of the data set in the warning.
    """
    samples = list(samples)
    counts = Counter(label for sample in samples for label in _labels(sample))
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spellings[plain_label(label)].append(label)
    kept = {label: _kept(alike) for alike in spellings.values() for label in alike}
    merged = [f"{' and '.join(map(repr, alike))} are {kept[alike[0]]!r}" for alike in spellings.values() if len(alike) > 1]
    if merged:
        message = f"{name}: spellings of one class: {'; '.join(merged)}. Name classes yourself with class_map={{...}}."
        warn_caller(message, DataWarning)
    renamed = {label: spelling for label, spelling in kept.items() if label != spelling}
    return [_mapped(sample, renamed) for sample in samples]


def map_samples(samples: Iterable[Sample], class_map: ClassMap) -> list[Sample]:
    """Return the samples with their labels and those of their lesions mapped, without those whose label is mapped to None.

    A scan whose lesions had several classes, and have one after the mapping, gets this class as its label.

    Raises:
        OptionError: The mapping names a label that no sample and no lesion has.
    """
    samples = list(samples)
    classes = {as_text(label): value if value is None else as_text(value) for label, value in class_map.items()}
    labels = sorted({label for sample in samples for label in _labels(sample)})
    unknown = [label for label in classes if label not in labels]
    if unknown:
        raise OptionError(f"class_map: no sample is labelled {unknown[0]!r}. The labels are {', '.join(labels) or 'none'}.")
    removed = {label for label, value in classes.items() if value is None}
    return [_mapped(sample, classes) for sample in samples if not _is_removed(sample, removed)]


def _is_removed(sample: Sample, removed: Set[str]) -> bool:
    """Return whether the label of a sample is removed, or without a label those of all its lesions."""
    labels = _lesion_labels(sample) if sample.label is None else {sample.label}
    return bool(labels) and labels <= removed


def _mapped(sample: Sample, classes: ClassMap) -> Sample:
    """Return the sample with its label and those of its lesions mapped."""
    if classes.keys().isdisjoint(_labels(sample)):
        return sample
    masks = tuple(
        replace(mask, label=classes.get(mask.label, mask.label)) if isinstance(mask, LesionMask) and mask.label else mask
        for mask in sample.masks
    )
    if sample.label is not None:
        return replace(sample, label=classes.get(sample.label, sample.label), masks=masks)
    several = {classes.get(label, label) for label in _lesion_labels(sample)}
    return replace(sample, label=several.pop() if len(several) == 1 else None, masks=masks)


def _labels(sample: Sample) -> set[str]:
    """Return the labels of a sample and of its lesions."""
    return _lesion_labels(sample) | ({sample.label} if sample.label is not None else set())


def _lesion_labels(sample: Sample) -> set[str]:
    return {mask.label for mask in sample.masks if isinstance(mask, LesionMask) and mask.label}


def plain_label(label: str) -> str:
    """Return a label without case, surrounding spaces and its Unicode form; the labels of one class are equal."""
    return " ".join(unicodedata.normalize("NFC", label).casefold().split())


def _kept(alike: list[str]) -> str:
    """Return the spelling to keep of one class: the most frequent one comes first."""
    usual = plain_label(alike[0])
    return usual if len(alike) > 1 and usual in USUAL_ORDER else unicodedata.normalize("NFC", alike[0]).strip()


def match_spellings(dataset: Dataset, classes: Sequence[str], owner: str) -> Dataset:
    """Return a data set whose labels have the spelling of some classes, and warn of those that are replaced.

    Spellings that differ in case, in surrounding spaces or in their Unicode form are one class, unless several classes differ so.

    Args:
        dataset: The data set.
        classes: Classes of a model, or of another data set.
        owner: Name of the model or of the other data set in the warning.
    """
    matched = _other_spellings({label for sample in dataset for label in _labels(sample)}, classes)
    if not matched:
        return dataset
    _warn_of_spellings(matched, dataset.name, owner)
    return dataset.map_labels(matched)


def match_classes(own: Sequence[str], name: str, classes: Sequence[str], owner: str) -> tuple[str, ...]:
    """Return the classes of a model with the spelling of another's, and warn of those that are replaced.

    Args:
        own: Classes of the model.
        name: Name of the model in the warning.
        classes: Classes of the other model.
        owner: Name of the other model in the warning.
    """
    matched = _other_spellings(own, classes)
    renamed = tuple(matched.get(one, one) for one in own)
    if not matched or len(set(renamed)) < len(renamed):
        return tuple(own)
    _warn_of_spellings(matched, name, owner)
    return renamed


def _other_spellings(labels: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """Return the classes of those labels that are spelled differently."""
    counts = Counter(map(plain_label, classes))
    spelled = {plain_label(name): name for name in classes if counts[plain_label(name)] == 1}
    return {label: spelled[plain_label(label)] for label in sorted(set(labels) - set(classes)) if plain_label(label) in spelled}


def _warn_of_spellings(matched: Mapping[str, str], name: str, owner: str) -> None:
    words = ", ".join(f"{label!r} is {spelling!r}" for label, spelling in matched.items())
    warn_caller(f"{name}: spellings of classes of {owner}: {words}.", DataWarning)


def check_labels(samples: Iterable[Sample], classes: Sequence[str], name: str) -> None:
    """Raise a DatasetError if a sample has a label that is not one of the classes."""
    unknown = [sample for sample in samples if sample.label is not None and sample.label not in classes]
    if unknown:
        raise DatasetError(
            f"{unknown[0].id}: its label {unknown[0].label!r} is not one of the classes {', '.join(classes)}. "
            f"{name} has {counted(len(unknown), 'sample')} with such a label. Rename labels with map_labels, or use a "
            "model with these classes."
        )
