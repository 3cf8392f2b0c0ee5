"""Several data sets made one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from bcdseg.data.dataset import Dataset
from bcdseg.errors import OptionError
from bcdseg.types import Sample


def combine(*datasets: Dataset, class_map: Mapping[str, str | None] | None = None) -> Dataset:
    """Join data sets.

    Ids and groups get the name of their data set in front, so that patient 1 of one is not patient 1 of another.

    Args:
        datasets: Two or more.
        class_map: Label as it is -> class in the joined set; None leaves samples of that label out.
            Labels that are not named stay as they are.

    Raises:
        OptionError: Fewer than two data sets, or the map names a label that none of them has.
    """
    if len(datasets) < 2:
        raise OptionError(f"combine needs two data sets or more; {len(datasets)} given.")
    classes = dict(class_map or {})
    labels = {label for dataset in datasets for label in dataset.classes}
    unknown = sorted(classes.keys() - labels)
    if unknown:
        raise OptionError(f"class_map: no sample is labelled {unknown[0]!r}. The labels are {', '.join(sorted(labels))}.")
    samples = []
    for name, dataset in zip(_distinct([one.name for one in datasets]), datasets, strict=True):
        samples += [_renamed(sample, name, classes) for sample in dataset if classes.get(sample.label or "", "kept") is not None]
    return Dataset(
        samples=tuple(samples),
        name=" + ".join(dataset.name for dataset in datasets),
        layout="combined",
        resize_masks=any(dataset.resize_masks for dataset in datasets),
        problems=tuple(problem for dataset in datasets for problem in dataset.problems),
    )


def _renamed(sample: Sample, name: str, classes: Mapping[str, str | None]) -> Sample:
    return replace(
        sample,
        id=f"{name}/{sample.id}",
        label=None if sample.label is None else classes.get(sample.label, sample.label),
        group=None if sample.group is None else f"{name}/{sample.group}",
    )


def _distinct(names: list[str]) -> list[str]:
    """The names, numbered where two data sets have the same."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return distinct
