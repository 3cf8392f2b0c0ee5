"""Comparisons of each reader with the others, and of a model with all of them, as functions of weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.masks import dice
from bcdseg.evaluation.metrics.classification import confusion, kappa
from bcdseg.evaluation.metrics.readers import fleiss_kappa, majority
from bcdseg.evaluation.metrics.weighted import Values, Weights, mean
from bcdseg.evaluation.results_table import UNKNOWN
from bcdseg.types import Mask

CONSENSUS, OTHERS, EVERY_PAIR = "consensus of all readers", "consensus of the others", "all readers"
Labels = NDArray[np.int64]
Statistic = Callable[[Weights], Values]


@dataclass(frozen=True)
class Pairing:
    """A reader or the model, and what it is compared with.

    Attributes:
        first: Name of the reader or the model.
        second: Name of the other reader, or of the consensus.
        members: Names of the readers whose majority it is compared with; one for a single reader.
        without: Reader who is left out of the consensus that the model is compared with, or None.
    """

    first: str
    second: str
    members: tuple[str, ...]
    without: str | None = None


def pairings(readers: Sequence[str], model: str | None) -> list[Pairing]:
    """Return every comparison: each pair, each reader with the consensus of the others, and the model with all of these."""
    found = [Pairing(first, second, (second,)) for first, second in combinations(readers, 2)]
    others = {name: tuple(other for other in readers if other != name) for name in readers}
    found += [Pairing(name, OTHERS, others[name]) for name in readers]
    if model is not None:
        found += [Pairing(model, name, (name,)) for name in readers]
        found += [Pairing(model, CONSENSUS, tuple(readers))]
        found += [Pairing(model, OTHERS, others[name], without=name) for name in readers]
    return found


def dice_statistics(pairs: Sequence[Pairing], scans: Iterable[Mapping[str, Mask]]) -> dict[Pairing, Statistic]:
    """Return the mean Dice of each comparison; the masks of each scan are given by name."""
    rows = [[dice(majority([masks[name] for name in pair.members]), masks[pair.first]) for pair in pairs] for masks in scans]
    columns = np.array(rows, np.float64).reshape(-1, len(pairs))
    found: dict[Pairing, Statistic] = {pair: partial(mean, columns[:, at]) for at, pair in enumerate(pairs)}
    between = [at for at, pair in enumerate(pairs) if _of_two(pair, pairs)]
    return {Pairing(EVERY_PAIR, "", ()): partial(mean, columns[:, between].mean(axis=1)), **found}


def kappa_statistics(
    pairs: Sequence[Pairing], readers: Sequence[str], labels: Mapping[str, Labels], classes: int
) -> dict[Pairing, Statistic]:
    """Return Cohen's kappa of each comparison, and Fleiss' of all readers.

    Args:
        pairs: Comparisons.
        readers: Names of the readers.
        labels: Index of each scan's class, by the name of the reader or the model; -1 where it is unknown.
        classes: Number of classes.
    """
    votes = np.stack([(np.stack([labels[name] for name in readers]) == number).sum(axis=0) for number in range(classes)], axis=1)
    found: dict[Pairing, Statistic] = {Pairing(EVERY_PAIR, "", ()): partial(fleiss_kappa, votes.astype(np.float64))}
    for pair in pairs:
        others = np.array(
            [most_frequent(row) for row in zip(*(labels[name].tolist() for name in pair.members), strict=True)], np.int64
        )
        found[pair] = partial(_kappa, others, labels[pair.first], classes)
    return found


def most_frequent(labels: Sequence[int]) -> int:
    """Return the class that most readers chose; -1 where two are chosen equally often.

    Examples:
        >>> most_frequent([2, 1, 2]), most_frequent([0, 1])
        (2, -1)
    """
    ranked = Counter(label for label in labels if label != UNKNOWN).most_common(2)
    return UNKNOWN if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]) else ranked[0][0]


def _kappa(first: Labels, second: Labels, classes: int, weights: Weights) -> Values:
    return kappa(confusion(first, second, classes, weights))


def _of_two(pair: Pairing, pairs: Sequence[Pairing]) -> bool:
    """Return whether it is a comparison of two readers, without the model."""
    readers = {one.first for one in pairs if one.second == OTHERS and one.without is None}
    return pair.first in readers and pair.second in readers
