"""Masks that contradict their label, their scan's border, or another mask of the same scan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import find_objects, label

from bcdseg.data.duplicates.search import DuplicatePair
from bcdseg.data.masks import dice, mask_size, read_mask
from bcdseg.data_audit.finding import Box, Finding
from bcdseg.types import Mask, Sample

NORMAL = "normal"
TINY = 0.001  # fraction of the scan
SMALLEST_LESION = 9  # pixels; smaller components are drawing errors, not lesions
OTHER_OUTLINE = 0.8  # two masks of one lesion with a Dice below this contradict each other
GRID = 256


def mask_of(sample: Sample) -> Mask:
    """Return the merged mask of a sample in the size of its first file; comparisons use fractions of its sides."""
    return read_mask(sample.masks, mask_size(sample.masks[0]), resize=True)


def mask_findings(sample: Sample, mask: Mask) -> Iterator[Finding]:
    """Yield the findings of one scan's mask."""
    ids = (sample.id,)
    normal = (sample.label or "").lower() == NORMAL
    share = float(mask.mean())
    if not mask.any():
        if sample.label is not None and not normal:
            yield Finding("empty mask", ids, f"The mask is empty, and the label is {sample.label}.", None, 0.0)
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    pieces, count = label(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    boxes: list[Box] = [
        (top + down.start, left + across.start, top + down.stop, left + across.stop) for down, across in find_objects(pieces)
    ]
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    lesions = [box for box, area in zip(boxes, areas, strict=True) if area >= SMALLEST_LESION]
    if normal:
        yield Finding("lesion on normal", ids, f"The label is {sample.label}, and the mask shows a lesion.", _around(boxes), share)
    if len(lesions) > 1:
        yield Finding("several lesions", ids, f"The mask shows {len(lesions)} lesions.", _around(lesions), float(len(lesions)))
    if share < TINY:
        yield Finding(
            "tiny lesion", ids, f"The lesion has {int(areas.sum())} pixels, {share:.2%} of the scan.", _around(boxes), share
        )
    height, width = mask.shape
    for box in boxes:
        sides = [name for name, meets in zip(("top", "left"), (box[0] == 0, box[1] == 0), strict=True) if meets]
        sides += [name for name, meets in zip(("bottom", "right"), (box[2] == height, box[3] == width), strict=True) if meets]
        if sides:
            yield Finding("mask at the border", ids, f"The mask touches the scan's border ({', '.join(sides)}).", box)


def dice_of_copies(pair: DuplicatePair, one: Mask, other: Mask) -> float:
    """Return the Dice of the masks of two near-duplicates, registered to each other, over the area that both scans show."""
    down, across, top, left = pair.placement
    place = (np.arange(GRID) + 0.5) / GRID
    rows, columns = place * down + top, place * across + left
    shared = np.ix_((rows >= 0) & (rows < 1), (columns >= 0) & (columns < 1))
    here = one[_pixels(place, one.shape[0])][:, _pixels(place, one.shape[1])][shared]
    there = other[_pixels(rows, other.shape[0])][:, _pixels(columns, other.shape[1])][shared]
    return dice(here, there)


def mask_conflict(pair: DuplicatePair, one: Mask, other: Mask) -> Finding | None:
    """Return a finding when two masks of the same scan differ much, else None."""
    dice = dice_of_copies(pair, one, other)
    if dice >= OTHER_OUTLINE:
        return None
    conflict = "only one of them has an outline" if one.any() != other.any() else f"two outlines, Dice {dice:.2f}"
    return Finding("mask conflict", (pair.one, pair.other), f"The same scan twice: {conflict}.", None, round(dice, 4))


def _pixels(fractions: np.ndarray[tuple[int], np.dtype[np.float64]], size: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.clip((fractions * size).astype(np.intp), 0, size - 1)


def _around(boxes: list[Box]) -> Box:
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)
