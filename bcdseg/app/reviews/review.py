"""Reviews: which scans come first, and what a reader states about a scan, as the page sends it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from bcdseg.errors import InputError
from bcdseg.inference.prediction import Prediction
from bcdseg.messages import percent
from bcdseg.model.model import Model
from bcdseg.types import Mask

VERDICTS = ("accepted", "rejected", "uncertain")
LONGEST_READER = 80
FIELDS = {"reader", "verdict", "label", "edges", "revision"}

CONTRADICTIONS = ("outlined-but-no-lesion", "no-outline")
NOTABLE = 0.5  # from which uncertainty is a reason


@dataclass(frozen=True, kw_only=True)
class Review:
    """Statement of a reader about a scan.

    Attributes:
        reader: Name of the reader.
        verdict: One of ``VERDICTS``; None for a reader who has not decided.
        label: Class that the reader chose, or None.
        mask: Outline that the reader drew; None where the model's outline was not changed.
        revision: Number of the saved review that the page displayed; 0 where there was none.
    """

    reader: str
    verdict: str | None = None
    label: str | None = None
    mask: Mask | None = None
    revision: int = 0


def parse_review(content: bytes, size: tuple[int, int], classes: Collection[str]) -> Review:
    """Return the review in the body of a request.

    Args:
        content: JSON with the fields of ``Review``, and ``edges`` in place of the mask, see ``mask_from_edges``.
        size: Height and width of the scan.
        classes: Classes that the reader can choose.

    Raises:
        InputError: The body is not a review of such a scan.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError("The review is not JSON.") from None
    if not isinstance(fields, dict) or not fields.keys() <= FIELDS:
        raise InputError(f"A review has the fields {', '.join(sorted(FIELDS))}, and no others.")
    revision, edges = fields.get("revision", 0), fields.get("edges")
    if type(revision) is not int or not 0 <= revision < 1 << 31:
        raise InputError(f"revision={revision!r}: is not the number of a revision.")
    return Review(
        reader=check_reader(fields.get("reader")),
        verdict=_choice(fields.get("verdict"), "verdict", VERDICTS),
        label=_choice(fields.get("label"), "label", classes),
        mask=None if edges is None else mask_from_edges(edges, size),
        revision=revision,
    )


def check_reader(name: Any) -> str:
    """Return the name of a reader without surrounding spaces.

    Raises:
        InputError: It is empty, too long, or contains characters that can't be printed.
    """
    text = name.strip() if isinstance(name, str) else ""
    if not (0 < len(text) <= LONGEST_READER and text.isprintable()):
        raise InputError(f"The reader's name needs 1 to {LONGEST_READER} printable characters.")
    return text


def mask_from_edges(edges: Any, size: tuple[int, int]) -> Mask:
    """Return a mask from the flat indices where its runs start and end, row by row: the inverse of ``responses.edges``.

    Raises:
        InputError: They are not ascending indices of an image of this size, with one end for each start.
    """
    height, width = size
    pixels = height * width
    if not isinstance(edges, list) or len(edges) % 2 or not _are_ascending(edges, pixels):
        raise InputError(f"The outline does not belong to a scan of {height}x{width} pixels.")
    changes = np.zeros(pixels + 1, bool)
    changes[edges] = True
    mask: Mask = np.logical_xor.accumulate(changes)[:pixels].reshape(size)
    return mask


def _are_ascending(edges: Sequence[Any], last: int) -> bool:
    if not all(type(edge) is int for edge in edges):
        return False
    return not edges or (edges[0] >= 0 and edges[-1] <= last and all(one < other for one, other in pairwise(edges)))


def _choice(value: Any, field: str, choices: Collection[str]) -> str | None:
    if value is None or (isinstance(value, str) and value in choices):
        return value
    raise InputError(f"{field}={value!r}: choose one of {', '.join(choices) or 'none: the model has no classes'}.")


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
            reasons.append(f"the probability of a lesion, {percent(presence, 1)}, is near the threshold of {percent(threshold, 1)}")
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
