"""What the comparison of two scans says, in words."""

from __future__ import annotations

from bcdseg.data.duplicates.verify import Overlap

SAME_FRAME = 0.87
"""All but one in a hundred copies score above this; neighbouring frames of a recording below."""


def evidence(overlap: Overlap, one: tuple[int, int], other: tuple[int, int]) -> tuple[str, ...]:
    """How the second scan came out of the first, sizes given as height and width."""
    down, across = overlap.placement.scale
    covered_one, covered_other = overlap.covered
    words = ["same frame" if overlap.score >= SAME_FRAME else "same view, perhaps a neighbouring frame"]
    if across < 0:
        words.append("mirrored")
    pixels_down, pixels_across = down * other[0] / one[0], abs(across) * other[1] / one[1]
    if max(abs(pixels_down - 1), abs(pixels_across - 1)) > 0.02:
        even = abs(pixels_down / pixels_across - 1) < 0.02
        words.append(f"rescaled by {pixels_across:.2f}" + ("" if even else f" across and {pixels_down:.2f} down"))
    if min(covered_one, covered_other) < 0.95:
        words.append(f"cropped: the same piece is {covered_one:.0%} of the first and {covered_other:.0%} of the second")
    if abs(overlap.brightness) > 6 or not 0.9 < overlap.contrast < 1.1:
        words.append("other gain")
    if overlap.score >= SAME_FRAME and overlap.disagree > 0.01:
        words.append(f"other marks or content on {overlap.disagree:.0%} of it")
    return tuple(words)
