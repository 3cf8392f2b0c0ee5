"""Postprocessing: from raw outputs of a region to class scores and lesions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bcdseg.errors import NotFiniteError
from bcdseg.inference.lesions import Lesion, find_lesions
from bcdseg.inference.regions import RegionOutput
from bcdseg.inference.rules import Rules
from bcdseg.inference.streaming_components import at_least, in_frame, is_huge, stream_lesions
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.class_scores import ClassScores
from bcdseg.types import Area, Mask


class RegionResult(NamedTuple):
    """Mask, lesions and class scores of one region of a scan. Maps have the size of the whole scan."""

    area: Area
    mask: Mask | None
    probability: Array | None
    lesions: tuple[Lesion, ...]
    votes: ClassScores | None
    windows: int | None


def postprocess_region(area: Area, seen: RegionOutput, rules: Rules, size: tuple[int, ...]) -> RegionResult:
    """Outline the lesions of one region of a scan.

    Args:
        area: Region of the scan.
        seen: Probability map and class scores of the region.
        rules: Thresholds of the model. The smallest lesion is a fraction of the pixels that the network processes at once.
        size: Height and width of the whole scan.
    """
    if seen.probability is None:
        return RegionResult(area, None, None, (), seen.votes, seen.windows)
    probability = in_frame(seen.probability, area, size)
    min_share = rules.min_lesion_share * seen.pixels / probability.size
    over = at_least(probability, rules.threshold)
    outline = stream_lesions if is_huge(size) else find_lesions
    mask, lesions = outline(over, probability, min_share=min_share, spacing=area.spacing)
    votes = seen.votes.and_half(seen.outlined) if lesions and seen.votes and seen.outlined else seen.votes
    return RegionResult(area, mask, probability, lesions, votes, seen.windows)


def check_finite(answer: RawOutput, *, name: str) -> RawOutput:
    """Raise a NotFiniteError where a raw output has NaN or infinite values; return it otherwise."""
    for part in (answer.mask, answer.classes):
        if part is not None and not np.isfinite(part).all():
            raise NotFiniteError(f"{name}: the network answers with NaN or infinite values; are its weights finite?")
    return answer
