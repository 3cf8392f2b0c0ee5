"""The example app of MONAI Label, with stand-ins for its classes: the labels fit the image that 3D Slicer shows."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK
from drawn import draw_scan
from page_client import save_model
from PIL import Image

import bcdseg

APP = Path(__file__).parents[2] / "examples/monai_label/main.py"


class _App:
    """Base class of an app, as MONAI Label 0.8.5 initialises it."""

    def __init__(self, _: str, __: str, conf: dict[str, str], **___: Any) -> None:
        self.conf = conf
        self._infers = self.init_infers()  # type: ignore[attr-defined]  # of the app


class _Task:
    """Base class of a task."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    contents: dict[str, dict[str, Any]] = {
        "monailabel.interfaces.app": {"MONAILabelApp": _App},
        "monailabel.interfaces.tasks.infer_v2": {"InferTask": _Task, "InferType": SimpleNamespace(SEGMENTATION="segmentation")},
    }
    for name in ("monailabel", "monailabel.interfaces", "monailabel.interfaces.tasks", *contents):
        module = ModuleType(name)
        vars(module).update(contents.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)
    app = runpy.run_path(str(APP))["Bcdseg"](str(APP.parent), str(tmp_path), {"model": str(save_model(tmp_path / "drawn"))})
    return app._infers["bcdseg"]


def test_labels_have_the_mask_and_the_position_of_the_image(task: Any, tmp_path: Path) -> None:
    pixels = draw_scan(3)
    volume = SimpleITK.GetImageFromArray(np.stack([pixels, draw_scan(4)]))
    single = SimpleITK.GetImageFromArray(pixels[None])
    for image in (volume, single):
        image.SetSpacing((0.1, 0.2, 1))
        image.SetOrigin((-5, 7, 3))
    Image.fromarray(pixels).save(tmp_path / "scan.png")
    SimpleITK.WriteImage(volume, tmp_path / "volume.nrrd")
    SimpleITK.WriteImage(single, tmp_path / "single.nii.gz")
    for name, count, origin in [("scan.png", 1, (0, 0, 0)), ("volume.nrrd", 2, (-5, 7, 3)), ("single.nii.gz", 1, (-5, 7, 3))]:
        written, facts = task({"image": str(tmp_path / name)})
        labels = SimpleITK.ReadImage(written)
        Path(written).unlink()
        predicted = [task.model.predict(one) for one in (pixels, draw_scan(4))][:count]
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(labels), [one.mask for one in predicted])
        assert labels.GetOrigin() == pytest.approx(origin)
        assert labels.GetSpacing() == pytest.approx((1, 1, 1) if name == "scan.png" else (0.1, 0.2, 1))
        assert [one["label"] for one in facts["slices"]] == [one.label for one in predicted]


def test_a_model_that_only_classifies_is_refused(task: Any, tmp_path: Path) -> None:
    Image.fromarray(draw_scan(3)).save(tmp_path / "scan.png")
    task.model = bcdseg.create("plain_cnn", decoder=None, classes=["benign", "malignant"], size=64)
    with pytest.raises(ValueError, match="only classifies"):
        task({"image": str(tmp_path / "scan.png")})
