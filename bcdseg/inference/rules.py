"""Decision rules of a model: thresholds and calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from bcdseg.errors import OptionError
from bcdseg.inference.out_of_distribution import TrainingImages
from bcdseg.messages import counted, percent
from bcdseg.networks.config import check_name, check_offsets, check_temperature
from bcdseg.runtimes.base import Calibration


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Probability threshold from which a class is predicted, even if it is not the most probable one.

    Attributes:
        name: Name for its selection, such as ``sensitivity 0.95``.
        positive: Class that the threshold applies to.
        threshold: Probability from which that class is predicted; below it the most probable of the other classes is.
        sensitivity: Fraction of the scans of that class with that prediction, where the threshold was chosen; None if unknown.
        specificity: Fraction of the other scans with another prediction there; None if unknown.
        scans: Number of scans that it was chosen on.
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
        """Raise an OptionError where the model lacks the class of the operating point.

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
            probabilities: Probability of each class by name.

        Raises:
            OptionError: The class of the operating point is missing.
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
        measured = f" ({', '.join(reached)} on the {counted(self.scans, 'scan')} it was chosen on)" if reached else ""
        return f"{self.name}: {self.positive} from a probability of {self.threshold:.3g}{measured}"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Thresholds and calibration of a model.

    Attributes:
        threshold: Mask probability from which a pixel belongs to a lesion.
        min_lesion_share: Smallest lesion as a fraction of the scan's area; smaller components are removed.
        min_confidence: Probability of the predicted class below which a prediction gets a warning.
        temperature: Divisor of the class logits before the softmax.
        class_offsets: Amount added to each class logit after that division, in the order of the model's classes; empty for none.
        presence_threshold: Probability of a lesion (one minus that of the negative class) from which an outline is a finding;
            below it the outline is a candidate. With None every outline is a finding.
        operating_points: Class thresholds chosen on validation scans, for ``predict(..., operating_point=NAME)``.
        conformal_coverage: Fraction of scans whose label set contains the true class; None for a model without label sets.
        conformal_thresholds: Probability from which each class is in the label set, in the order of the model's classes.
        refinement: Height and width of the window around the main outline that the network processes once more, enlarged, as a
            multiple of the longer side of the outline; the probabilities of both passes are averaged. None for one pass.
        training_images: Statistics of the images that the model was trained on, one set per training, for the
            out-of-distribution score; empty for a model without such a score.
    """

    threshold: float = 0.5
    min_lesion_share: float = 0.001
    min_confidence: float = 0.5
    temperature: float = 1.0
    class_offsets: tuple[float, ...] = ()
    presence_threshold: float | None = None
    operating_points: tuple[OperatingPoint, ...] = ()
    conformal_coverage: float | None = None
    conformal_thresholds: tuple[float, ...] = ()
    refinement: float | None = None
    training_images: tuple[TrainingImages, ...] = field(default=(), repr=False)

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
        if (self.conformal_coverage is None) != (not self.conformal_thresholds):
            raise OptionError("conformal_coverage and conformal_thresholds belong together: give both or neither.")
        if self.conformal_coverage is not None and not 0 < self.conformal_coverage < 1:
            raise OptionError(f"conformal_coverage={self.conformal_coverage!r} is not possible: choose a number between 0 and 1.")
        if not all(0 <= threshold <= 1 for threshold in self.conformal_thresholds):
            raise OptionError(f"conformal_thresholds={self.conformal_thresholds!r} is not possible: choose numbers from 0 to 1.")
        if self.refinement is not None and not 1 <= self.refinement <= 10:
            raise OptionError(f"refinement={self.refinement!r} is not possible: choose a number from 1 to 10, or None.")
        check_temperature(self.temperature)
        check_offsets(self.class_offsets)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rules:
        """Build the rules from their ``dataclasses.asdict``, also after a round trip through JSON."""
        points = tuple(OperatingPoint(**point) for point in values.get("operating_points", ()))
        thresholds = tuple(values.get("conformal_thresholds", ()))
        images = tuple(TrainingImages.from_dict(one) for one in values.get("training_images", ()))
        offsets = tuple(values.get("class_offsets", ()))
        lists = {
            "operating_points": points,
            "conformal_thresholds": thresholds,
            "training_images": images,
            "class_offsets": offsets,
        }
        return cls(**{**values, **lists})

    @property
    def calibration(self) -> Calibration:
        """Map from class logits to probabilities."""
        return Calibration(self.temperature, self.class_offsets)

    def label_set(self, probabilities: Mapping[str, float]) -> tuple[str, ...] | None:
        """Return the conformal label set: the classes that these rules can't exclude, at least the most probable one.

        Args:
            probabilities: Probability of each class, in the order of the model's classes.

        Returns:
            Names of the classes; None for rules or a model without label sets.

        Examples:
            >>> rules = Rules(conformal_coverage=0.9, conformal_thresholds=(0.2, 0.3))
            >>> rules.label_set({"benign": 0.75, "malignant": 0.25})
            ('benign',)
        """
        if not self.conformal_thresholds or not probabilities:
            return None
        pairs = zip(probabilities.items(), self.conformal_thresholds, strict=True)
        kept = tuple(name for (name, probability), threshold in pairs if probability >= threshold)
        return kept or (max(probabilities, key=probabilities.__getitem__),)

    def operating_point(self, name: str) -> OperatingPoint:
        """Return the operating point with a name.

        Raises:
            OptionError: The model has no operating point of that name.
        """
        for point in self.operating_points:
            if point.name == name:
                return point
        known = ", ".join(repr(point.name) for point in self.operating_points) or "none; bcdseg.calibrate stores some"
        raise OptionError(f"operating_point={name!r}: this model has {known}.")


def described(rules: Rules) -> dict[str, str]:
    """Return the thresholds and the calibration in words, as model cards and reports state them."""
    words = {"mask threshold": f"{rules.threshold:g}"}
    if rules.presence_threshold is not None:
        words["presence threshold"] = f"{rules.presence_threshold:.3g}"
    if rules.refinement is not None:
        words["refinement"] = f"a window of {rules.refinement:g} times the outline"
    words["smallest lesion"] = f"{percent(rules.min_lesion_share, 2)} of the scan's area"
    words["confidence threshold"] = f"{rules.min_confidence:.3g}"
    words["temperature"] = f"{rules.temperature:.3g}"
    if rules.class_offsets:
        words["class offsets"] = ", ".join(f"{offset:+.3g}" for offset in rules.class_offsets)
    return words


def site_rules(rules: Rules) -> list[str]:
    """Return the names of the rules that hold for the weights and classes they were fitted with, as messages list them."""
    return [
        *(f"operating point {point.name!r}" for point in rules.operating_points),
        *["class offsets"] * bool(rules.class_offsets),
        *["label sets"] * bool(rules.conformal_thresholds),
    ]
