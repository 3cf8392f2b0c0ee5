"""Agreement of a runtime with torch on real scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

import numpy as np

from bcdseg.data.masks import dice
from bcdseg.data.readers import expand, is_single
from bcdseg.errors import OptionError
from bcdseg.inference.clips import without_maps
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.predictor import Result
from bcdseg.sources import ImageSource
from bcdseg.types import Failure

LEAST_DICE, LEAST_SAME_CLASS, MOST_DIFFERENCE = 0.995, 0.99, 0.02
MOST_RANGES = 100


@dataclass(frozen=True, kw_only=True)
class RuntimeAgreement:
    """Agreement of the predictions of a runtime with those of torch in 32 bits.

    Attributes:
        scans: Number of compared scans.
        dice: Mean Dice coefficient of the masks, 1 for two empty masks; None for a model without masks.
        same_class: Fraction of the scans with the same predicted class; None for a model without classes.
        probability_difference: Mean absolute difference of the class probabilities; None for a model without classes.
    """

    scans: int
    dice: float | None
    same_class: float | None
    probability_difference: float | None

    @property
    def within(self) -> bool:
        """True if the agreement suffices for ``auto``: Dice 0.995, 99 % equal classes, probabilities within 0.02."""
        alike = self.same_class is None or self.same_class >= LEAST_SAME_CLASS
        near = self.probability_difference is None or self.probability_difference <= MOST_DIFFERENCE
        return self.scans > 0 and (self.dice is None or self.dice >= LEAST_DICE) and alike and near


@dataclass(frozen=True)
class Scans:
    """Scans for the measurement of agreement.

    Attributes:
        measured: Scans on which the agreement is measured.
        ranges: Other scans, for the calibration of int8 ranges.
    """

    measured: tuple[ImageSource, ...]
    ranges: tuple[ImageSource, ...]


def split_scans(source: Any) -> Scans:
    """Split the scans of a source, which may be any source of ``predict``, into two random halves with a fixed seed."""
    sources = [source] if is_single(source) else list(expand(source))
    if len(sources) < 2:
        raise OptionError(f"{source}: the measurement of agreement needs two scans or more; int8 takes its ranges from one half.")
    order = np.random.default_rng(0).permutation(len(sources))
    half = len(sources) // 2
    return Scans(tuple(sources[at] for at in order[half:]), tuple(sources[at] for at in islice(order, min(half, MOST_RANGES))))


def drop_maps(results: Iterable[Result]) -> list[Result]:
    """Return predictions with their masks as the only arrays, to save memory."""
    return [result if isinstance(result, Failure) else without_maps(result) for result in results]


def measure(reference: Sequence[Result], results: Iterable[Result]) -> RuntimeAgreement:
    """Measure the agreement of predictions for the same scans in the same order; scans that failed in either are ignored."""
    pairs = zip(reference, results, strict=True)
    dices: list[float] = []
    same: list[float] = []
    differences: list[float] = []
    scans = 0
    for one, other in pairs:
        if not (isinstance(one, Prediction) and isinstance(other, Prediction)):
            continue
        scans += 1
        if one.mask is not None and other.mask is not None:
            dices.append(dice(one.mask, other.mask))
        if one.label is not None:
            same.append(float(one.label == other.label))
            differences.append(fmean(abs(one.probabilities[name] - other.probabilities[name]) for name in one.probabilities))
    return RuntimeAgreement(scans=scans, dice=_mean(dices), same_class=_mean(same), probability_difference=_mean(differences))


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
