"""Order of review: the scans that teach a model most, contradictory, uncertain and unusual ones, come first."""

from __future__ import annotations

import math
from typing import NamedTuple

from bcdseg.inference.prediction import Prediction
from bcdseg.model.model import Model

CONTRADICTIONS = ("outlined-but-no-lesion", "no-outline")
NOTABLE = 0.5  # from which uncertainty is a reason


class Priority(NamedTuple):
    """Priority of a scan for review.

    Attributes:
        score: From 0 to 2: the uncertainty or the unlikeness from 0 to 1, and 1 more where outline and class contradict each other.
        reasons: Reasons in words.
    """

    score: float
    reasons: tuple[str, ...]


def priority(prediction: Prediction, model: Model) -> Priority:
    """Return the priority of a scan for review.

    The uncertainty is the larger one of two: the entropy of the class probabilities, as a fraction of the highest possible one; and
    the closeness of the probability of a lesion to the model's presence threshold, from 1 at the threshold to 0 at 0 % and 100 %.
    For a model without classes it is that of the outline: 1 where the mean probability of its largest lesion is 50 %.
    The unlikeness to the training scans rises from 0 at half the out-of-distribution threshold to 1 at the threshold.
    """
    contradicts = any(flag.code in CONTRADICTIONS for flag in prediction.flags)
    reasons = ["class and outline contradict each other"] * contradicts
    uncertainty = _entropy(list(prediction.probabilities.values())) if prediction.probabilities else _outline(prediction)
    if uncertainty >= NOTABLE:
        reasons.append("the class is uncertain" if prediction.probabilities else "the outline is uncertain")
    threshold, negative = model.rules.presence_threshold, model.no_lesion
    closeness = 0.0
    if threshold is not None and negative is not None and prediction.probabilities:
        presence = 1 - prediction.probabilities[negative]
        closeness = _closeness(presence, threshold)
        if closeness >= NOTABLE:
            reasons.append(f"the probability of a lesion, {presence:.1%}, is near the threshold of {threshold:.1%}")
    unlikeness = 0.0 if prediction.ood_score is None else min(max(2 * prediction.ood_score - 1, 0.0), 1.0)
    if unlikeness >= NOTABLE:
        reasons.append("the scan is unlike the training scans")
    return Priority(contradicts + max(uncertainty, closeness, unlikeness), tuple(reasons))


def _entropy(probabilities: list[float]) -> float:
    if len(probabilities) < 2:
        return 0.0
    return -sum(one * math.log(one) for one in probabilities if one > 0) / math.log(len(probabilities))


def _closeness(presence: float, threshold: float) -> float:
    farthest = 1 - threshold if presence >= threshold else threshold
    return 1 - abs(presence - threshold) / farthest


def _outline(prediction: Prediction) -> float:
    if prediction.mask_probability is None:
        return 0.0
    highest = float(prediction.mask_probability.max())
    return 1 - abs(2 * (prediction.lesions[0].probability if prediction.lesions else highest) - 1)
