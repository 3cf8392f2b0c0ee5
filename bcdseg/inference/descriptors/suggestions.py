"""BI-RADS descriptors of a mass in ultrasound, suggested from numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bcdseg.inference.descriptors.appearance import Appearance

ROUND_FROM = 0.9  # short over long axis
REGULAR_FROM = 0.9  # area over the area of the ellipse with the same second moments; at most 1, and 1 for an ellipse alone
SMOOTH_FROM = 0.9  # fraction of its convex hull that a lesion without spicules, corners or lobes fills
CIRCUMSCRIBED_FROM, INDISTINCT_BELOW = 0.75, 0.5  # fraction of the outline across which the gray changes abruptly
ECHO_FREE_FROM, CYSTIC_FROM = 0.75, 0.25  # fraction of the patches of the core that are almost black
HETEROGENEOUS_FROM = 0.2  # variation of the core
ISOECHOIC = 0.8, 1.25  # lowest and highest gray of the core over that of the adjacent tissue
UNCHANGED = 0.75, 1.25  # lowest and highest gray behind a lesion without posterior features, over that of the adjacent tissue


@dataclass(frozen=True)
class Descriptors:
    """BI-RADS descriptors of a mass in ultrasound: suggestions for a reader, from the outline and the gray values.

    They follow from fixed rules whose limits are definitions. Their agreement with readers has not been measured.

    Attributes:
        shape: ``"oval"``, ``"round"`` or ``"irregular"``.
        orientation: ``"parallel"`` or ``"not parallel"`` to the skin, which is taken to be horizontal.
        margin: ``"circumscribed"``, ``"indistinct"`` (not circumscribed, for its edge is blurred or faint), ``"not circumscribed"``
            (the outline has spicules, corners or lobes, which are not distinguished), or None.
        echo_pattern: ``"anechoic"``, ``"hypoechoic"``, ``"isoechoic"``, ``"hyperechoic"``, ``"heterogeneous"``,
            ``"complex cystic and solid"``, or None.
        posterior: ``"no posterior features"``, ``"enhancement"``, ``"shadowing"``, ``"combined pattern"``, or None.
    """

    shape: str
    orientation: str
    margin: str | None = None
    echo_pattern: str | None = None
    posterior: str | None = None

    def __str__(self) -> str:
        known = (self.shape, self.orientation, self.margin, self.echo_pattern, self.posterior)
        return ", ".join(word for word in known if word is not None)


def suggest_descriptors(
    axes: tuple[float, float], area: float, *, taller_than_wide: float, solidity: float, appearance: Appearance | None
) -> Descriptors:
    """Suggest descriptors.

    Args:
        axes: Long and short axis of the ellipse with the lesion's second moments.
        area: Area, in the square of their unit.
        taller_than_wide: Height over width of the box.
        solidity: Fraction of its convex hull that the lesion fills.
        appearance: Gray values in and around the lesion, or None.
    """
    long, short = axes
    shape = "round" if short >= ROUND_FROM * long else "oval"
    if area < REGULAR_FROM * math.pi / 4 * long * short or short == 0:
        shape = "irregular"
    parallel = taller_than_wide < 1 and shape != "round"
    orientation = "parallel" if parallel else "not parallel"
    if appearance is None:
        return Descriptors(shape, orientation)
    return Descriptors(shape, orientation, _margin(solidity, appearance), _echo_pattern(appearance), _posterior(appearance))


def _margin(solidity: float, appearance: Appearance) -> str | None:
    abrupt = appearance.abrupt_edge
    if abrupt is None:
        return None
    if solidity < SMOOTH_FROM:
        return "not circumscribed"
    if abrupt >= CIRCUMSCRIBED_FROM:
        return "circumscribed"
    return "indistinct" if abrupt < INDISTINCT_BELOW else None


def _echo_pattern(appearance: Appearance) -> str | None:
    ratio, free = appearance.echo_ratio, appearance.echo_free
    if ratio is None or free is None:
        return None
    # Black is fluid where the sound passes; where it doesn't, or where nothing behind is visible, black can be the lesion's shadow.
    darkest, brightest = ISOECHOIC
    passes = appearance.posterior_ratio is not None and appearance.posterior_ratio >= UNCHANGED[0]
    if free >= ECHO_FREE_FROM and ratio < darkest:
        return "anechoic" if passes else None
    if appearance.echo_variation is not None and appearance.echo_variation >= HETEROGENEOUS_FROM:
        return "complex cystic and solid" if free >= CYSTIC_FROM and passes else "heterogeneous"
    return "hypoechoic" if ratio < darkest else "hyperechoic" if ratio > brightest else "isoechoic"


def _posterior(appearance: Appearance) -> str | None:
    ratio = appearance.posterior_ratio
    if ratio is None:
        return None
    darkest, brightest = UNCHANGED
    halves = [half for half in (appearance.posterior_left, appearance.posterior_right) if half is not None]
    if halves and min(halves) < darkest and max(halves) > brightest:
        return "combined pattern"
    return "shadowing" if ratio < darkest else "enhancement" if ratio > brightest else "no posterior features"
