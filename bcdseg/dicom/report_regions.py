"""Regions and units of a report, in the forms that viewers draw.

OHIF 3.12 draws polylines but no oblique ellipse, and shows no report that has a measurement group without coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.dicom.guard import pydicom
from bcdseg.types import Point

QUARTER = 12  # edges of a quarter of an ellipse: at most 0.2 % of its radius inside of it


def ellipse_outline(long_axis: tuple[Point, Point], short_axis: tuple[Point, Point]) -> NDArray[np.float64]:
    """Return the ellipse with these axes as a closed polyline of columns and rows in DICOM's coordinates.

    Its points 0 and ``2 * QUARTER`` are the ends of the long axis, ``QUARTER`` and ``3 * QUARTER`` those of the short axis.
    """
    ends = np.array([*long_axis, *short_axis])[:, ::-1] + 0.5  # the centre of the first pixel is (0.5, 0.5)
    centre, long, short = ends.mean(axis=0), (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
    angles = np.arange(4 * QUARTER + 1)[:, None] * (np.pi / 2 / QUARTER)
    outline = centre - np.cos(angles) * long - np.sin(angles) * short
    outline[-1] = outline[0]
    return np.asarray(outline, float)


def first_pixel(reference: Any, frames: Sequence[int] | None) -> Any:
    """Return the coordinates at which viewers show a measurement of the whole frame."""
    sr = pydicom("highdicom.sr")
    image = sr.SourceImageForRegion(reference.SOPClassUID, reference.SOPInstanceUID, referenced_frame_numbers=frames)
    return sr.CoordinatesForMeasurement(graphic_type="POINT", graphic_data=np.array([[0.5, 0.5]]), source_image=image)


def no_dimension(kind: str) -> Any:
    """Return the unit of a number without dimension; OHIF shows a 0 with the unit "1", DICOM's usual one, as a 1."""
    return pydicom("highdicom.sr").CodedConcept(f"{{{kind}}}", "UCUM", kind)
