"""Postprocessing: from the outputs of a scan's regions to its prediction, with warnings about its quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bcdseg.data.images import to_gray
from bcdseg.inference.lesions import Lesion, find_lesions, largest_first, without_posterior_features
from bcdseg.inference.out_of_distribution import check_distribution, image_statistics
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.regions import RegionOutput, at_least, in_frame, merged
from bcdseg.inference.rules import OperatingPoint, Rules
from bcdseg.messages import percent
from bcdseg.runtimes.base import Array
from bcdseg.types import Area, Flag, Mask, Pixels, ScanImage


class RegionResult(NamedTuple):
    """Lesions and class probabilities of one region of a scan.

    Attributes:
        area: Region of the scan.
        mask: True where a lesion is outlined, at the size of the whole scan; None for a model without a mask.
        mask_probability: Lesion probability of each pixel, at the size of the whole scan, or None.
        lesions: Outlined lesions, the largest first.
        probabilities: Probability of each class; empty for a model without classes.
        spread: Standard deviation of each class's probability over several raw outputs; None when there is only one.
        presence: Probability of a lesion; 1 for a model without a negative class.
        is_candidate: Whether the outlines are candidates, as that probability is below the presence threshold of the model.
        windows: Number of windows that the network has processed, or None.
    """

    area: Area
    mask: Mask | None
    mask_probability: Array | None
    lesions: tuple[Lesion, ...]
    probabilities: dict[str, float]
    spread: dict[str, float] | None
    presence: float
    is_candidate: bool
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
        rules = self.rules
        regions = [postprocess_region(*pair, scan.pixels, self) for pair in zip(scan.areas, outputs, strict=True)]
        findings = [region for region in regions if not region.is_candidate]
        below = [region for region in regions if region.is_candidate]
        outlined = [region for region in findings if region.lesions] or below
        # Class and spacing are from the region with the largest lesion, or with the largest candidate where there is no lesion;
        # without either, from the first, the largest region.
        largest = _lesions_of(outlined)[:1]
        main = next((region for region in outlined if region.lesions[:1] == largest), regions[0])
        lesions, candidates = _lesions_of(findings), _lesions_of(below)
        mask = merged([region.mask for region in findings if region.mask is not None])
        candidate_mask = merged([region.mask for region in below if region.mask is not None])
        if mask is None and candidate_mask is not None:
            mask = np.zeros_like(candidate_mask)

        probabilities = main.probabilities
        most_probable = max(probabilities, key=probabilities.__getitem__) if probabilities else None
        label = self.operating_point.choose(probabilities) if self.operating_point and probabilities else most_probable

        flags = prediction_flags(
            label=label,
            confidence=1.0 if label is None else probabilities[label],
            outlined=None if mask is None else bool(lesions),
            no_lesion=self.no_lesion,
            min_confidence=rules.min_confidence,
        )
        if below and rules.presence_threshold is not None:
            flags += (candidate_flag(max(region.presence for region in below), rules.presence_threshold),)
        if self.operating_point and label != most_probable:
            flags += (operating_point_flag(label, most_probable, self.operating_point.name),)
        pixels = scan.pixels[main.area.window]
        score, ood_flags = (
            check_distribution(rules.training_images, image_statistics(pixels)) if rules.training_images else (None, ())
        )
        if any(flag.code == "upside-down" for flag in ood_flags):
            lesions, candidates = without_posterior_features(lesions), without_posterior_features(candidates)
        return Prediction(
            source=scan.source,
            label=label,
            probabilities=probabilities,
            mask=mask,
            mask_probability=merged([region.mask_probability for region in regions if region.mask_probability is not None]),
            lesions=lesions,
            flags=(*flags, *image_flags(pixels), *ood_flags, *scan.warnings),
            spacing=main.area.spacing,
            threshold=rules.threshold,
            image=scan.pixels,
            spacing_from=main.area.spacing_from,
            area=main.area.box,
            frame=scan.frame,
            model=self.model,
            operating_point=self.operating_point.name if self.operating_point else None,
            windows=main.windows,
            spread=main.spread,
            uncertainty_from=self.uncertainty_from,
            candidates=candidates,
            candidate_mask=candidate_mask,
            label_set=rules.label_set(probabilities),
            ood_score=score,
            identity=self.identity,
            areas=tuple(scan.areas),
        )


def _lesions_of(regions: list[RegionResult]) -> tuple[Lesion, ...]:
    """Return the lesions of several regions, the largest first."""
    return largest_first(lesion for region in regions for lesion in region.lesions)


def postprocess_region(area: Area, output: RegionOutput, pixels: Pixels, settings: Postprocessing) -> RegionResult:
    """Outline the lesions of one region of a scan, and compute its class probabilities.

    Args:
        area: Region of the scan.
        output: Probability map and class scores of the region.
        pixels: The whole scan.
        settings: Thresholds and classes of the model. The smallest lesion is a fraction of the pixels of one network
            input.
    """
    rules, classes = settings.rules, settings.classes
    mask: Mask | None = None
    mask_probability: Array | None = None
    lesions: tuple[Lesion, ...] = ()
    if output.probability is not None:
        mask_probability = in_frame(output.probability, area, pixels.shape[:2])
        min_share = rules.min_lesion_share * output.pixels / mask_probability.size
        over_threshold = at_least(mask_probability, rules.threshold)
        mask, lesions = find_lesions(
            over_threshold, mask_probability, min_share=min_share, spacing=area.spacing, pixels=pixels, area=area
        )
    scores = output.scores
    if lesions and scores and output.outlined_scores:
        scores = scores.averaged_with(output.outlined_scores)
    values = None if scores is None else scores.probabilities(rules.calibration)
    deviations = None if scores is None else scores.spread(rules.calibration)
    probabilities = {} if values is None else dict(zip(classes, values.tolist(), strict=True))
    presence = 1 - probabilities[settings.no_lesion] if probabilities and settings.no_lesion is not None else 1.0
    threshold = rules.presence_threshold
    return RegionResult(
        area=area,
        mask=mask,
        mask_probability=mask_probability,
        lesions=lesions,
        probabilities=probabilities,
        spread=None if deviations is None else dict(zip(classes, deviations.tolist(), strict=True)),
        presence=presence,
        is_candidate=bool(lesions) and threshold is not None and presence < threshold,
        windows=output.windows,
    )


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
        f"An outline is only a candidate: the probability of a lesion is {percent(probability, 1)}, below the model's threshold of "
        f"{percent(threshold, 1)}.",
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
                f"The class is uncertain: {label} at {percent(confidence, 1)}, below the model's threshold of "
                f"{percent(min_confidence, 1)}.",
            )
        )
    return tuple(flags)


def _colourfulness(pixels: Pixels) -> float:
    """Return the fraction of pixels whose channels clearly differ."""
    scale = 255 if pixels.dtype == np.uint8 else 1
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))  # along the first axis, a maximum is several times as fast
    coloured = planes.max(axis=0) - planes.min(axis=0) > 0.12 * scale
    return float(coloured.mean())
