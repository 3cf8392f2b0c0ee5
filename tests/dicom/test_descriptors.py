"""BI-RADS descriptors follow from outlines whose shape is known, and stand in the report with the codes of the standard."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

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


NAMES = {
    "shape": ("300842002", "SCT"),
    "orientation": ("111354", "DCM"),
    "margin": ("111037", "DCM"),
    "echo_pattern": ("111360", "DCM"),
    "posterior": ("111366", "DCM"),
}


def _report(pixels: NDArray[np.uint8], folder: Path, **header: str) -> tuple[Lesion, dict[tuple[str, str], Any], dict[str, float]]:
    """Return a lesion, its stated descriptors by the codes of their names, and its numbers by their meaning."""
    (folder / "sr.dcm").unlink(missing_ok=True)
    made = dicom(pixels, region((10, 20, 140, 190), (0.03, 0.03)), **header)
    found = bright_model().predict(save(made, folder / "scan.dcm"))
    path = found.save_dicom_sr(folder / "sr.dcm", identity="pacs")
    if checker := shutil.which("dciodvfy"):
        done = subprocess.run([checker, "-new", str(path)], capture_output=True, text=True, check=False)
        assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    (group,) = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    stated = {(one.name.value, one.name.scheme_designator): one.value for one in group.get_qualitative_evaluations()}
    return found.lesions[0], stated, {one.name.meaning: float(one.value) for one in group.get_measurements()}


def test_a_report_states_them_by_code_with_their_numbers(tmp_path: Path) -> None:
    inside = draw_ellipse((150, 203), (70, 90), (20, 40), 25)
    lesion, stated, numbers = _report(np.where(inside, 230, 100).astype(np.uint8), tmp_path)
    assert str(lesion.descriptors) == "oval, parallel, circumscribed, hyperechoic, no posterior features"
    assert {name: stated[code].value for name, code in NAMES.items()} == {
        "shape": "84360004",
        "orientation": "111355",
        "margin": "129738007",
        "echo_pattern": "111362",
        "posterior": "111367",
    }
    assert {value.scheme_designator for value in stated.values()} == {"SCT", "DCM"}
    assert numbers["Mean gray of the core over that of the adjacent tissue"] == pytest.approx(2.3, abs=0.02)
    assert numbers["Mean gray behind over that of the adjacent tissue"] == pytest.approx(1, abs=0.02)
    assert numbers["Fraction of the outline with an abrupt edge"] == 1


def test_a_report_names_values_without_a_code_itself_and_omits_unknown_ones(tmp_path: Path) -> None:
    stripes = np.where(np.arange(203) // 15 % 2, 180, 230)
    inside = draw_ellipse((150, 203), (112, 90), (25, 40), 0)
    lesion, stated, _ = _report(np.where(inside, stripes, 100).astype(np.uint8), tmp_path)
    assert (lesion.descriptors.echo_pattern, lesion.descriptors.posterior) == ("heterogeneous", None)
    pattern = stated[NAMES["echo_pattern"]]
    assert (pattern.scheme_designator, pattern.meaning) == ("99BCDSEG", "Heterogeneous")
    assert NAMES["posterior"] not in stated


def test_a_region_whose_depth_grows_upwards_has_no_posterior_features(tmp_path: Path) -> None:
    inside = draw_ellipse((150, 203), (70, 90), (20, 40), 0)
    made = dicom(np.where(inside, 230, 100).astype(np.uint8), region((10, 20, 140, 190), (-0.03, 0.03)))
    (lesion,) = bright_model().predict(save(made, tmp_path / "scan.dcm")).lesions
    assert str(lesion.descriptors) == "oval, parallel, circumscribed, hyperechoic"


def test_a_report_of_a_mammogram_has_none(tmp_path: Path) -> None:
    inside = draw_ellipse((150, 203), (70, 90), (20, 40), 25)
    _, stated, numbers = _report(np.where(inside, 230, 100).astype(np.uint8), tmp_path, Modality="MG")
    assert not stated
    assert set(numbers) == {"Long axis", "Short axis", "Area", "Mean probability of lesion"}
