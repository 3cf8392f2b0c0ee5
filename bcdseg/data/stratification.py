"""Groups of samples, assigned to the parts of a split in the proportions of the parts, class by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bcdseg.types import Sample


def number_groups(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Return the number of each sample's group; a sample without a group gets a number of its own."""
    numbers: dict[tuple[str, str], int] = {}
    keys = (("id", sample.id) if sample.group is None else ("group", sample.group) for sample in samples)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _strata(samples: Sequence[Sample]) -> list[str]:
    return [f"{'with' if sample.masks else 'without'} mask, label {sample.label}" for sample in samples]


def count_features(samples: Sequence[Sample], units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count the scans of each group (row) per class, per class with and without masks, and in total (columns)."""
    labels = [sample.label or "" for sample in samples]
    kinds = [*sorted(set(labels) - {""}), *sorted(set(_strata(samples)))]
    column = {kind: at for at, kind in enumerate(kinds)}
    counts = np.zeros((int(units.max(initial=-1)) + 1, len(kinds) + 1))
    for unit, label, stratum in zip(units, labels, _strata(samples), strict=True):
        counts[unit, [*([column[label]] if label else []), column[stratum], -1]] += 1
    return counts


def assign_groups(counts: NDArray[np.float64], fractions: NDArray[np.float64], classes: int, seed: int) -> NDArray[np.int64]:
    """Assign each group to a part: the largest groups first, each where it brings the parts nearest to their fractions.

    The distance is relative to a part's fraction: otherwise all large groups would go to the largest part, and the test part would
    contain only scans without a group.

    scikit-learn's StratifiedGroupKFold does this for equal parts without a better balance, and may leave a part without a class.
    """
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    total = counts.sum(axis=0)
    missing = np.outer(fractions, total)
    part_of = np.zeros(len(counts), np.int64)
    for unit in order:
        change = (counts[unit] ** 2 - 2 * counts[unit] * missing) / total
        part_of[unit] = (change.sum(axis=1) / fractions).argmin()
        missing[part_of[unit]] -= counts[unit]
    for column in np.argsort(total[:classes], kind="stable"):
        _fill_classes(counts[:, column], part_of, len(fractions), order[::-1])
    return part_of


def _fill_classes(count: NDArray[np.float64], part_of: NDArray[np.int64], parts: int, order: NDArray[np.int64]) -> None:
    """Move a small group of a class to each part that lacks the class, from the part with the most groups of it."""
    for part in range(parts):
        having = [np.flatnonzero((part_of == at) & (count > 0)) for at in range(parts)]
        if not len(having[part]):
            richest = set(max(having, key=len).tolist())
            part_of[next(unit for unit in order if unit in richest)] = part
