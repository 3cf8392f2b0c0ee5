"""Decision rules of a model: thresholds and calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bcdseg.errors import OptionError
from bcdseg.networks.config import check_name, check_temperature


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """When to call a class: not when it is the most probable one, but from a probability on.

    Attributes:
        name: What to ask for it by, such as ``sensitivity 0.95``.
        positive: The class that is called.
        threshold: A scan is called that class when its probability is at least this; else the most probable of the others.
        sensitivity: Share of the class's scans that were called so where the threshold was chosen; None when unknown.
        specificity: Share of the other scans that were not called so there; None when unknown.
        scans: How many scans it was chosen on.
    """

    name: str
    positive: str
    threshold: float
    sensitivity: float | None = None
    specificity: float | None = None
    scans: int = 0

    def __post_init__(self) -> None:
        check_name(self.name, "The operating point")
        for name in ("threshold", "sensitivity", "specificity"):
            value = getattr(self, name)
            if (value is not None or name == "threshold") and not 0 <= value <= 1:
                raise OptionError(f"{name}={value!r} of {self.name!r} is not possible: choose a number from 0 to 1.")

    def check_classes(self, classes: Collection[str]) -> None:
        """Raise an OptionError where its class is none of a model's.

        Args:
            classes: Names of the model's classes.
        """
        if self.positive not in classes:
            known = ", ".join(map(repr, classes)) or "none"
            raise OptionError(
                f"The operating point {self.name!r} is for the class {self.positive!r}; the model's classes: {known}."
            )

    def choose(self, probabilities: Mapping[str, float]) -> str:
        """Return the class that is predicted.

        Args:
            probabilities: Of each class.

        Raises:
            OptionError: There is no such class.
        """
        self.check_classes(probabilities)
        if probabilities[self.positive] >= self.threshold:
            return self.positive
        return max((name for name in probabilities if name != self.positive), key=probabilities.__getitem__)

    def __str__(self) -> str:
        reached = [
            f"{what} {value:.2f}"
            for what, value in (("sensitivity", self.sensitivity), ("specificity", self.specificity))
            if value is not None
        ]
        measured = f" ({', '.join(reached)} on the {self.scans} scans it was chosen on)" if reached else ""
        return f"{self.name}: {self.positive} from a probability of {self.threshold:.3g}{measured}"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Thresholds and calibration of a model.

    Attributes:
        threshold: A pixel belongs to a lesion when its probability is at least this.
        min_lesion_share: An outlined spot smaller than this share of the scan's area is a speck and is dropped.
        min_confidence: A probability of the chosen class below this is flagged.
        temperature: Class logits are divided by this before the softmax.
        presence_threshold: An outline is a finding where the probability of a lesion, one minus that of the class that means 'no
            lesion', is at least this; below it is a candidate. None shows every outline as a finding.
        operating_points: Other ways to call a class, chosen on validation scans; ``predict(..., operating_point=NAME)``.
    """

    threshold: float = 0.5
    min_lesion_share: float = 0.001
    min_confidence: float = 0.5
    temperature: float = 1.0
    presence_threshold: float | None = None
    operating_points: tuple[OperatingPoint, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold={self.threshold!r} is not possible: choose a number between 0 and 1.")
        if not 0 <= self.min_lesion_share < 1:
            raise OptionError(f"min_lesion_share={self.min_lesion_share!r} is not possible: choose a number from 0 up to 1.")
        if not 0 <= self.min_confidence <= 1:
            raise OptionError(f"min_confidence={self.min_confidence!r} is not possible: choose a number from 0 to 1.")
        if self.presence_threshold is not None and not 0 <= self.presence_threshold < 1:
            raise OptionError(
                f"presence_threshold={self.presence_threshold!r} is not possible: choose a number from 0 up to 1, or None."
            )
        check_temperature(self.temperature)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rules:
        """Build the record from what ``dataclasses.asdict`` and JSON made of it."""
        points = tuple(OperatingPoint(**point) for point in values.get("operating_points", ()))
        return cls(**{**values, "operating_points": points})

    def operating_point(self, name: str) -> OperatingPoint:
        """The operating point of a name."""
        for point in self.operating_points:
            if point.name == name:
                return point
        known = ", ".join(repr(point.name) for point in self.operating_points) or "none; bcdseg.calibrate stores some"
        raise OptionError(f"operating_point={name!r}: this model has {known}.")
