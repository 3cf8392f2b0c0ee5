"""BI-RADS descriptors follow from outlines whose shape is known, and stand in the report with the codes of the standard."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
from bright import bright_model
from drawn import draw_ellipse
from made_dicom import dicom, region, save
from numpy.typing import NDArray

from bcdseg import Lesion
from bcdseg.inference.lesions import find_lesions

SIZE = (200, 200)


def _lesion(mask: NDArray[np.bool_], spacing: tuple[float, float] | None = None) -> Lesion:
    (lesion,) = find_lesions(mask, mask.astype(np.float32), min_share=0, spacing=spacing)[1]
    return lesion


def _star(points: int, depth: float) -> NDArray[np.bool_]:
    """An outline whose radius rises and falls."""
    rows, columns = np.indices(SIZE) - 100
    angle = np.arctan2(rows, columns)
    return np.hypot(rows, columns) < 60 * (1 + depth * np.cos(points * angle)) / (1 + depth)


@pytest.mark.parametrize("angle", range(0, 180, 15))
@pytest.mark.parametrize("axes", [(20, 40), (30, 40), (12, 60)])
def test_ellipses_are_oval_and_parallel_if_they_lie(axes: tuple[int, int], angle: int) -> None:
    found = _lesion(draw_ellipse(SIZE, (100, 100), axes, angle)).descriptors
    assert found.shape == "oval"
    if angle % 90 != 45:
        lies = _lesion(draw_ellipse(SIZE, (100, 100), axes, angle)).taller_than_wide < 1
        assert found.orientation == ("parallel" if lies else "not parallel")


def test_an_ellipse_that_lies_is_parallel_and_one_that_stands_is_not() -> None:
    lying, standing = draw_ellipse(SIZE, (100, 100), (20, 40), 0), draw_ellipse(SIZE, (100, 100), (40, 20), 0)
    assert str(_lesion(lying).descriptors) == "oval, parallel"
    assert str(_lesion(standing).descriptors) == "oval, not parallel"


@pytest.mark.parametrize("radius", [4, 10, 50])
def test_discs_are_round_and_not_parallel(radius: int) -> None:
    assert str(_lesion(draw_ellipse(SIZE, (100, 100), (radius, radius), 0)).descriptors) == "round, not parallel"


@pytest.mark.parametrize(("points", "depth", "shape"), [(5, 0.4, "irregular"), (8, 0.3, "irregular"), (3, 0.05, "round")])
def test_spicules_are_irregular_and_gentle_lobes_are_not(points: int, depth: float, shape: str) -> None:
    assert _lesion(_star(points, depth)).descriptors.shape == shape


def test_millimetres_decide_where_they_are_known() -> None:
    disc = draw_ellipse(SIZE, (100, 100), (40, 40), 0)
    assert str(_lesion(disc, (0.1, 0.2)).descriptors) == "oval, parallel"
    assert str(_lesion(disc, (0.2, 0.1)).descriptors) == "oval, not parallel"
    assert str(_lesion(draw_ellipse(SIZE, (100, 100), (20, 40), 0), (0.2, 0.1)).descriptors) == "round, not parallel"


@pytest.mark.parametrize(("modality", "expected"), [("US", ["84360004", "111355"]), ("MG", [])])
def test_a_report_states_them_by_code(modality: str, expected: list[str], tmp_path: Path) -> None:
    pixels = np.where(draw_ellipse((150, 203), (70, 90), (20, 40), 25), 230, 20).astype(np.uint8)
    made = dicom(pixels, region((10, 20, 140, 190), (0.03, 0.03)), Modality=modality)
    path = bright_model().predict(save(made, tmp_path / "scan.dcm")).save_dicom_sr(tmp_path / "sr.dcm", identity="pacs")
    (group,) = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    found = group.get_qualitative_evaluations()
    assert [one.value.value for one in found] == expected
    assert [(one.name.value, one.name.scheme_designator) for one in found] == [("300842002", "SCT"), ("111354", "DCM")][
        : len(found)
    ]
