"""Class labels: spellings that are unified, and classes that are renamed, merged or removed."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from bcdseg.caller_warnings import warn_caller
from bcdseg.data.layouts.listing import USUAL_ORDER
from bcdseg.errors import DataWarning, OptionError
from bcdseg.types import LesionMask, Sample, as_text

ClassMap = Mapping[str, str | None]
"""Classes by label; None removes the samples with that label."""


def unify_spellings(samples: Iterable[Sample], name: str) -> list[Sample]:
    """Return the samples with one spelling of each class, and warn of those that are replaced.

    Spellings that differ in case, in surrounding spaces or in their Unicode form are one class. A usual class keeps its usual
    spelling; else the most frequent one is kept.

    Args:
        samples: The samples.
        name: Name of the data set in the warning.
    """
    samples = list(samples)
    counts = Counter(sample.label for sample in samples if sample.label is not None)
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spellings[_plain(label)].append(label)
    kept = {label: _kept(alike) for alike in spellings.values() for label in alike}
    merged = [f"{' and '.join(map(repr, alike))} are {kept[alike[0]]!r}" for alike in spellings.values() if len(alike) > 1]
    if merged:
        message = f"{name}: spellings of one class: {'; '.join(merged)}. Name classes yourself with class_map={{...}}."
        warn_caller(message, DataWarning)
    return [sample if sample.label is None else _labelled(sample, kept[sample.label]) for sample in samples]


def map_samples(samples: Iterable[Sample], class_map: ClassMap) -> list[Sample]:
    """Return the samples with their labels mapped, without those whose label is mapped to None.

    Raises:
        OptionError: The mapping names a label that no sample has.
    """
    samples = list(samples)
    classes = {as_text(label): value if value is None else as_text(value) for label, value in class_map.items()}
    labels = sorted({sample.label for sample in samples if sample.label is not None})
    unknown = [label for label in classes if label not in labels]
    if unknown:
        raise OptionError(f"class_map: no sample is labelled {unknown[0]!r}. The labels are {', '.join(labels) or 'none'}.")
    mapped = ((sample, classes.get(sample.label, sample.label) if sample.label else None) for sample in samples)
    return [_labelled(sample, label) for sample, label in mapped if label is not None or sample.label is None]


def _labelled(sample: Sample, label: str | None) -> Sample:
    """Return the sample with another label, which its lesions with the former one get too."""
    if sample.label == label:
        return sample
    masks = (
        replace(mask, label=label) if isinstance(mask, LesionMask) and mask.label == sample.label else mask for mask in sample.masks
    )
    return replace(sample, label=label, masks=tuple(masks))


def _plain(label: str) -> str:
    return " ".join(unicodedata.normalize("NFC", label).casefold().split())


def _kept(alike: list[str]) -> str:
    """Return the spelling to keep of one class: the most frequent one comes first."""
    usual = _plain(alike[0])
    return usual if len(alike) > 1 and usual in USUAL_ORDER else unicodedata.normalize("NFC", alike[0]).strip()
