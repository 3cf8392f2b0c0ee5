"""Quality warnings of a prediction."""

from __future__ import annotations

import numpy as np

from bcdseg.data.images import to_gray
from bcdseg.types import Flag as Flag
from bcdseg.types import Pixels

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
