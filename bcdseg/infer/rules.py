"""How the numbers of a network become an answer: thresholds and calibration, stored with each model."""

from __future__ import annotations

from dataclasses import dataclass

from bcdseg.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Thresholds and calibration of a model.

    Attributes:
        threshold: A pixel belongs to a lesion when its probability is at least this.
        min_lesion_share: An outlined spot smaller than this share of the scan's area is a speck and is dropped.
        min_confidence: A probability of the chosen class below this is flagged.
        temperature: Class logits are divided by this before the softmax.
    """

    threshold: float = 0.5
    min_lesion_share: float = 0.001
    min_confidence: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold={self.threshold!r} is not possible: choose a number between 0 and 1.")
        if not 0 <= self.min_lesion_share < 1:
            raise OptionError(f"min_lesion_share={self.min_lesion_share!r} is not possible: choose a number from 0 up to 1.")
        if not 0 <= self.min_confidence <= 1:
            raise OptionError(f"min_confidence={self.min_confidence!r} is not possible: choose a number from 0 to 1.")
        if not self.temperature > 0:
            raise OptionError(f"temperature={self.temperature!r} is not possible: choose a number above 0.")
