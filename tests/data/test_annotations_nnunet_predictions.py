"""Predictions that nnU-Net wrote, evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from made import busi, save

import bcdseg


@pytest.fixture
def data(tmp_path: Path) -> bcdseg.Dataset:
    return bcdseg.open_dataset(busi(tmp_path / "busi", {"benign": 2, "malignant": 2}))


@pytest.mark.parametrize("ending", [".png", ".nii.gz"])
@pytest.mark.parametrize("exported", [True, False])
def test_predictions_of_nnunet_are_paired_by_their_case(data: bcdseg.Dataset, tmp_path: Path, ending: str, exported: bool) -> None:
    data.to_nnunet(tmp_path / "raw")
    raw = bcdseg.open_dataset(tmp_path / "raw")
    for sample, label in zip(data, (1, 1, 2, 2), strict=True):
        mask = data.read(sample)[1]
        assert mask is not None
        case = sample.id.removesuffix(".png").replace("/", "_").replace(" (", "_").removesuffix(")")
        values = mask.astype(np.uint8) * label
        if ending == ".png":
            save(tmp_path / f"predicted/{case}.png", values)
        else:
            (tmp_path / "predicted").mkdir(exist_ok=True)
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values[None]), str(tmp_path / f"predicted/{case}.nii.gz"))
    (tmp_path / "predicted/dataset.json").write_text("{}")
    result = bcdseg.evaluate_predictions(tmp_path / "predicted", raw if exported else data, draws=0, progress=False)
    assert result["dice"].value == 1
