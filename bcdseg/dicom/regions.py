"""Scan areas of a frame and their pixel spacing.

An ultrasound machine declares for each region of its screen what it shows and in which units (Ultrasound Region Calibration). Only
two-dimensional tissue in centimetres is a scan; Doppler, M-mode, traces and the machine's own texts are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bcdseg.sources import SMALLEST
from bcdseg.types import SPACING_RANGE, Area, Box, Flag, Spacing

TWO_DIMENSIONS, TISSUE, COLOUR_FLOW, CENTIMETRES = 1, 1, 2, 3
FROM_REGION, FROM_PIXELS, FROM_DETECTOR = "ultrasound region", "pixel spacing", "imager pixel spacing"


class Areas(NamedTuple):
    """The scan areas in descending order of size, and warnings about them."""

    areas: tuple[Area, ...]
    warnings: tuple[Flag, ...]


def find_areas(header: Any, size: tuple[int, int]) -> Areas:
    """Find the scan areas that a header declares; without regions the whole frame is one area."""
    spacing, spacing_from = _of_pixels(header)
    whole = Area(box=(0, 0, *size), spacing=spacing, spacing_from=spacing_from)
    scans = _scan_regions(header)
    boxes = [_box(region) for region in scans]
    if any(_leaves(box, size) for box in boxes):
        warning = Flag(
            "regions-do-not-fit",
            "The file's ultrasound regions reach beyond its frame, which was cut or resized after the scan: "
            "they are used neither to cut off what the machine wrote around the scan nor for millimetres.",
        )
        return Areas((whole,), (warning,))
    areas = [
        _area(region, _clipped(box, size), whole)
        for region, box in zip(scans, boxes, strict=True)
        if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST
    ]
    areas = _apart(areas)
    if not areas:
        return Areas((whole,), ())
    warnings: tuple[Flag, ...] = ()
    if len(areas) > 1:
        warnings = (
            Flag(
                "several-regions",
                f"The frame contains {len(areas)} scan areas side by side: each is outlined by itself, "
                "and class and scale are those of the area with the largest outline.",
            ),
        )
    return Areas(tuple(areas), warnings)


def _scan_regions(header: Any) -> list[Any]:
    """Return the regions with tissue, or those with colour flow if the file declares no tissue."""
    flat = [
        region for region in header.get("SequenceOfUltrasoundRegions") or () if _is(region, "RegionSpatialFormat", TWO_DIMENSIONS)
    ]
    tissue = [region for region in flat if _is(region, "RegionDataType", TISSUE)]
    return tissue or [region for region in flat if _is(region, "RegionDataType", COLOUR_FLOW)]


def _is(region: Any, keyword: str, value: int) -> bool:
    return bool(region.get(keyword) == value)


def _box(region: Any) -> Box:
    """Return top, left, bottom and right; the file stores the last pixel, a box the one after it."""
    return (
        int(region.RegionLocationMinY0),
        int(region.RegionLocationMinX0),
        int(region.RegionLocationMaxY1) + 1,
        int(region.RegionLocationMaxX1) + 1,
    )


def _leaves(box: Box, size: tuple[int, int]) -> bool:
    """Return whether a box exceeds the frame by more than one pixel: some machines store the pixel after the last."""
    return box[2] > size[0] + 1 or box[3] > size[1] + 1


def _clipped(box: Box, size: tuple[int, int]) -> Box:
    return box[0], box[1], min(box[2], size[0]), min(box[3], size[1])


def _area(region: Any, box: Box, whole: Area) -> Area:
    """Return the area of a region; where the depth grows upwards, the file states a negative distance of its rows."""
    spacing, downwards = _of_region(region), float(region.get("PhysicalDeltaY") or 0) >= 0
    if spacing is None:
        return replace(whole, box=box, depth_down=downwards)
    return Area(box=box, spacing=spacing, spacing_from=FROM_REGION, depth_down=downwards)


def _of_region(region: Any) -> Spacing | None:
    """Return the spacing of a region, converted from centimetres to millimetres.

    The sign of a delta and the reference pixel define direction and origin, which sizes don't depend on.
    """
    if not (_is(region, "PhysicalUnitsXDirection", CENTIMETRES) and _is(region, "PhysicalUnitsYDirection", CENTIMETRES)):
        return None
    return _believable(10 * abs(float(region.get("PhysicalDeltaY") or 0)), 10 * abs(float(region.get("PhysicalDeltaX") or 0)))


def _of_pixels(header: Any) -> tuple[Spacing | None, str | None]:
    """Return the spacing of the whole frame: in the patient, else at the detector of an X-ray machine, where all is larger."""
    for holder in (header, *_shared_measures(header)):
        for keyword, name in (("PixelSpacing", FROM_PIXELS), ("ImagerPixelSpacing", FROM_DETECTOR)):
            pair = holder.get(keyword)
            if pair is not None and not isinstance(pair, (str, float)) and len(pair) == 2:
                spacing = _believable(float(pair[0]), float(pair[1]))
                if spacing is not None:
                    return spacing, name
    return None, None


def _shared_measures(header: Any) -> Sequence[Any]:
    groups = header.get("SharedFunctionalGroupsSequence") or ()
    return [measures for group in groups[:1] for measures in (group.get("PixelMeasuresSequence") or ())[:1]]


def _believable(down: float, across: float) -> Spacing | None:
    least, most = SPACING_RANGE
    fine = all(math.isfinite(value) and least <= value <= most for value in (down, across))
    return (down, across) if fine else None


def _apart(areas: Sequence[Area]) -> list[Area]:
    """Return areas in descending order of size, without those that are mostly inside a larger one."""
    kept: list[Area] = []
    for area in sorted(areas, key=lambda area: -area.pixels):
        if all(2 * area.shared_with(other) <= area.pixels for other in kept):
            kept.append(area)
    return kept
