"""Cornerstone's readers, which OHIF uses, read the same masks. Too large for CI: npm install in tests/pacs/viewer_tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bright import bright_model
from drawn import draw_ellipse
from made_dicom import dicom, region, save
from numpy.typing import NDArray

import bcdseg

TOOLS = Path(__file__).with_name("viewer_tools")
SIZE = (160, 200)  # the readers refuse bits that fill an odd number of bytes, to which DICOM adds one

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (TOOLS / "node_modules/@cornerstonejs/adapters").is_dir(),
    reason="no Cornerstone: npm install in tests/pacs/viewer_tools",
)


def _read(segmentation: Path, scan: Path) -> dict[str, Any]:
    command = ["node", str(TOOLS / "read_seg.mjs"), str(segmentation), str(scan)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _mask(runs: list[list[int]]) -> NDArray[np.int_]:
    return np.repeat(*np.array(runs).T).reshape(SIZE)


def _pixels(step: int = 0) -> NDArray[np.uint8]:
    return np.where(draw_ellipse(SIZE, (70, 90), (20 + step, 40 + step), 25), 230, 20).astype(np.uint8)


@pytest.mark.parametrize("regions", [[region((0, 0, *SIZE), (0.02, 0.03))], []], ids=["scale", "no scale"])
def test_cornerstone_reads_the_mask(regions: list[Any], tmp_path: Path) -> None:
    path = save(dicom(_pixels(), *regions), tmp_path / "scan.dcm")
    scan = bright_model().predict(path)
    read = _read(scan.save_dicom_seg(tmp_path / "seg.dcm", identity="pacs"), path)
    assert read["labels"] == ["lesion"]
    np.testing.assert_array_equal(_mask(read["frames"][0]) == 1, scan.mask)


def test_cornerstone_reads_the_frames_of_a_clip(tmp_path: Path) -> None:
    path = save(dicom(np.stack([_pixels(step) for step in range(4)]), clip=True), tmp_path / "clip.dcm")
    frames = {one.frame: one.mask for one in bright_model().predict(path, frames=2, identity="pacs")}
    seg = bcdseg.save_dicom_seg(bright_model().predict(path, frames=2), tmp_path / "seg.dcm", identity="pacs")
    for number, runs in enumerate(_read(seg, path)["frames"], 1):
        np.testing.assert_array_equal(_mask(runs) == 1, frames.get(number, np.zeros(SIZE, bool)))
