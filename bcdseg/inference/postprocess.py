"""Postprocessing: from the outputs of a scan's regions to its prediction, with warnings about its quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bcdseg.data.images import to_gray
from bcdseg.inference.lesions import Lesion, find_lesions
from bcdseg.inference.out_of_distribution import image_statistics, ood_flags, ood_score
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.regions import RegionOutput, at_least, in_frame, merged
from bcdseg.inference.rules import OperatingPoint, Rules
from bcdseg.runtimes.base import Array
from bcdseg.runtimes.class_scores import ClassScores, Scores
from bcdseg.types import Area, Flag, Mask, Pixels, ScanImage


class RegionResult(NamedTuple):
    """Mask, lesions and class scores of one region of a scan. Maps have the size of the whole scan."""

    area: Area
    mask: Mask | None
    probability: Array | None
    lesions: tuple[Lesion, ...]
    scores: ClassScores | None
    windows: int | None


@dataclass(frozen=True, kw_only=True)
class Postprocessing:
    """Postprocessing of the network's outputs for a scan.

    Attributes:
        rules: Thresholds and calibration of the model.
        classes: Names of the classes; empty for a model without classes.
        no_lesion: Negative class, or None.
        operating_point: Operating point that chooses the class; None for the most probable class.
        model: Name of the model.
        uncertainty_from: Origin of several raw outputs, or None.
        identity: Use of the prediction, ``"pacs"`` or ``"shared"``; see ``Prediction``.
    """

    rules: Rules
    classes: tuple[str, ...]
    no_lesion: str | None
    operating_point: OperatingPoint | None = None
    model: str = "untitled"
    uncertainty_from: str | None = None
    identity: str = "shared"

    def __call__(self, scan: ScanImage, outputs: list[RegionOutput]) -> Prediction:
        """Return the prediction for a scan from the outputs of its regions."""
        rules, size = self.rules, scan.pixels.shape[:2]
        regions = [postprocess_region(*pair, rules, size) for pair in zip(scan.areas, outputs, strict=True)]
        above = [region for region in regions if not self._only_candidates(region)]
        below = [region for region in regions if self._only_candidates(region)]
        outlined = [region for region in above if region.lesions] or below
        # Class and spacing are from the region with the largest lesion, or with the largest candidate where there is no lesion;
        # without either, from the first, the largest region.
        main = max(outlined, key=lambda region: region.lesions[0].area_px) if outlined else regions[0]
        lesions, candidates = _lesions_of(above), _lesions_of(below)
        mask = merged([region.mask for region in above if region.mask is not None])
        candidate_mask = merged([region.mask for region in below if region.mask is not None])
        if mask is None and candidate_mask is not None:
            mask = np.zeros_like(candidate_mask)

        probabilities = self._by_class(main.scores and main.scores.probabilities(rules.temperature))
        most_probable = max(probabilities, key=probabilities.__getitem__) if probabilities else None
        label = self.operating_point.choose(probabilities) if self.operating_point and probabilities else most_probable

        flags: tuple[Flag, ...] = ()
        if below and rules.presence_threshold is not None:
            highest = max(self._presence(region) for region in below)
            flags = (candidate_flag(highest, rules.presence_threshold),)
        if self.operating_point and label != most_probable:
            flags += (operating_point_flag(label, most_probable, self.operating_point.name),)
        score, of_image = self._check_image(scan.pixels[main.area.window])
        contradictions = prediction_flags(
            label=label,
            confidence=1.0 if label is None else probabilities[label],
            outlined=None if mask is None else bool(lesions),
            no_lesion=self.no_lesion,
            min_confidence=rules.min_confidence,
        )
        return Prediction(
            source=scan.source,
            label=label,
            probabilities=probabilities,
            mask=mask,
            mask_probability=merged([region.probability for region in regions if region.probability is not None]),
            lesions=lesions,
            flags=(*contradictions, *flags, *of_image, *scan.warnings),
            spacing=main.area.spacing,
            threshold=rules.threshold,
            image=scan.pixels,
            spacing_from=main.area.spacing_from,
            area=main.area.box,
            frame=scan.frame,
            model=self.model,
            operating_point=self.operating_point.name if self.operating_point else None,
            windows=main.windows,
            spread=self._by_class(main.scores and main.scores.spread(rules.temperature)) or None,
            uncertainty_from=self.uncertainty_from,
            candidates=candidates,
            candidate_mask=candidate_mask,
            label_set=rules.label_set(probabilities),
            ood_score=score,
            identity=self.identity,
        )

    def _check_image(self, pixels: Pixels) -> tuple[float | None, tuple[Flag, ...]]:
        """Return the out-of-distribution score of an image, and the warnings about it."""
        known = self.rules.training_images
        if not known:
            return None, image_flags(pixels)
        statistics = image_statistics(pixels)
        return ood_score(known, statistics), (*image_flags(pixels), *ood_flags(known, statistics))

    def _presence(self, region: RegionResult) -> float:
        """Return a region's probability of a lesion; 1 for a model without a negative class."""
        probabilities = self._by_class(region.scores and region.scores.probabilities(self.rules.temperature))
        return 1 - probabilities[self.no_lesion] if probabilities and self.no_lesion is not None else 1.0

    def _only_candidates(self, region: RegionResult) -> bool:
        """Return whether the outlines of a region are candidates: its probability of a lesion is below the threshold."""
        threshold = self.rules.presence_threshold
        return bool(region.lesions) and threshold is not None and self._presence(region) < threshold

    def _by_class(self, scores: Scores | None) -> dict[str, float]:
        return {} if scores is None else {name: float(score) for name, score in zip(self.classes, scores, strict=True)}


def _lesions_of(regions: list[RegionResult]) -> tuple[Lesion, ...]:
    """Return the lesions of several regions, the largest first."""
    return tuple(sorted((lesion for region in regions for lesion in region.lesions), key=lambda lesion: -lesion.area_px))


def postprocess_region(area: Area, output: RegionOutput, rules: Rules, size: tuple[int, ...]) -> RegionResult:
    """Outline the lesions of one region of a scan.

    Args:
        area: Region of the scan.
        output: Probability map and class scores of the region.
        rules: Thresholds of the model. The smallest lesion is a fraction of the pixels that the network processes at once.
        size: Height and width of the whole scan.
    """
    if output.probability is None:
        return RegionResult(area, None, None, (), output.scores, output.windows)
    probability = in_frame(output.probability, area, size)
    min_share = rules.min_lesion_share * output.pixels / probability.size
    over_threshold = at_least(probability, rules.threshold)
    mask, lesions = find_lesions(over_threshold, probability, min_share=min_share, spacing=area.spacing)
    scores = output.scores
    if lesions and scores and output.outlined_scores:
        scores = scores.averaged_with(output.outlined_scores)
    return RegionResult(area, mask, probability, lesions, scores, output.windows)


TINY = 64
SAMPLED = 128  # the brightness is measured on about as many rows and columns of a scan


def image_flags(pixels: Pixels) -> tuple[Flag, ...]:
    """Return warnings about an image that is tiny, blank, saturated or otherwise unlike a scan."""
    flags = []
    if min(pixels.shape[:2]) < TINY:
        flags.append(Flag("tiny", f"The image is only {pixels.shape[0]}x{pixels.shape[1]} pixels; a scan has more detail."))
    step = max(1, min(pixels.shape[:2]) // SAMPLED)
    pixels = pixels[::step, ::step]
    gray = to_gray(pixels).astype(np.float32) / (255 if pixels.dtype == np.uint8 else 1)
    if gray.max() - gray.min() < 0.04 or gray.std() < 0.01:
        flags.append(Flag("blank", "The image is blank or almost so."))
    elif (gray >= 0.98).mean() > 0.3:
        flags.append(Flag("saturated", "Much of the image is saturated white, unlike a scan."))
    elif (gray <= 0.02).mean() > 0.9:
        flags.append(Flag("dark", "Almost all of the image is black, unlike a scan."))
    if pixels.ndim == 3 and _colourfulness(pixels) > 0.15:
        flags.append(Flag("colour", "Much of the image is in colour, unlike a gray-scale scan."))
    return tuple(flags)


def candidate_flag(probability: float, threshold: float) -> Flag:
    """Return the warning that an outline is a candidate and not a finding.

    Args:
        probability: Probability of a lesion.
        threshold: Probability from which an outline is a finding.
    """
    return Flag(
        "candidate",
        f"An outline is only a candidate: the probability of a lesion is {probability:.1%}, below the model's threshold of "
        f"{threshold:.1%}.",
    )


def operating_point_flag(label: str | None, most_probable: str | None, name: str) -> Flag:
    """Return the warning that an operating point predicts another class than the most probable one.

    Args:
        label: Predicted class.
        most_probable: Class with the highest probability.
        name: Name of the operating point.
    """
    return Flag(
        "operating-point", f"Predicted {label} at the operating point {name!r}; the most probable class is {most_probable}."
    )


def prediction_flags(
    *, label: str | None, confidence: float, outlined: bool | None, no_lesion: str | None, min_confidence: float
) -> tuple[Flag, ...]:
    """Return warnings about a prediction whose outline and class contradict each other, or whose confidence is low.

    Args:
        label: Predicted class; None for a model without classes.
        confidence: Probability of the predicted class.
        outlined: Whether any lesion is outlined; None for a model without a mask.
        no_lesion: Negative class ('no lesion'); None for a model without one.
        min_confidence: Confidence threshold of the model.
    """
    if label is None:
        return ()
    flags = []
    if outlined and label == no_lesion:
        flags.append(
            Flag(
                "outlined-but-no-lesion",
                f"A lesion is outlined, but the predicted class is {label}: they contradict each other.",
            )
        )
    if outlined is False and label != no_lesion:
        flags.append(Flag("no-outline", f"The predicted class is {label}, but no lesion is outlined: they contradict each other."))
    if confidence < min_confidence:
        flags.append(
            Flag(
                "low-confidence",
                f"The class is uncertain: {label} at {confidence:.0%}, below the model's threshold of {min_confidence:.0%}.",
            )
        )
    return tuple(flags)


def _colourfulness(pixels: Pixels) -> float:
    """Return the fraction of pixels whose channels clearly differ."""
    scale = 255 if pixels.dtype == np.uint8 else 1
    coloured = pixels.max(axis=2).astype(np.float32) - pixels.min(axis=2) > 0.12 * scale
    return float(coloured.mean())
