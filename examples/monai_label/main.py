"""App of MONAI Label: bcdseg outlines the scans that 3D Slicer shows.

    pip install monailabel SimpleITK bcdseg
    monailabel start_server --app examples/monai_label --studies scans

``--conf model runs/mine`` chooses another model. See docs/how-to/viewers.md for what was tested.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import SimpleITK
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

import bcdseg

LABELS = {"lesion": 1, "candidate": 2}


class Outlines(InferTask):
    """Task that outlines lesions, and candidates below the model's presence threshold."""

    def __init__(self, model: bcdseg.Model) -> None:
        super().__init__(InferType.SEGMENTATION, labels=LABELS, dimension=2, description="Lesions in breast ultrasound by bcdseg")
        self.model = model

    def is_valid(self) -> bool:
        """Return whether the task can be used."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Outline an image, or each slice of a volume, and return the file of the labels and the predicted classes."""
        image = SimpleITK.ReadImage(request["image"])
        if image.GetDimension() == 2:  # also a NIfTI file of one slice, of which ITK drops the position
            depth = float(image.GetMetaData("qoffset_z")) if image.HasMetaDataKey("qoffset_z") else 0.0
            image = SimpleITK.JoinSeries(image, depth)
        slices = SimpleITK.GetArrayFromImage(image)  # the pixels as Slicer shows them, so that the labels fit
        labels = np.zeros(slices.shape[:3], np.uint8)
        classes = []
        for label, pixels in zip(labels, slices, strict=True):
            prediction = self.model.predict(pixels)
            if prediction.mask is None:
                raise ValueError(f"{self.model.name} only classifies: start the server with a model that outlines.")
            label[prediction.mask] = LABELS["lesion"]
            if prediction.candidate_mask is not None:
                label[prediction.candidate_mask] = LABELS["candidate"]
            classes.append({"label": prediction.label, "probabilities": dict(prediction.probabilities)})
        written = SimpleITK.GetImageFromArray(labels)
        written.CopyInformation(image)
        with tempfile.NamedTemporaryFile(suffix=".nrrd", delete=False) as file:
            SimpleITK.WriteImage(written, file.name, useCompression=True)
        return file.name, {"label_names": LABELS, "slices": classes}


class Bcdseg(MONAILabelApp):
    """App with one task: the outlines of a model."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        super().__init__(app_dir, studies, conf, name="bcdseg", description="Breast ultrasound", labels=LABELS)

    def init_infers(self) -> dict[str, InferTask]:
        """Return the tasks by their names."""
        return {"bcdseg": Outlines(bcdseg.load(self.conf["model"]) if "model" in self.conf else bcdseg.load())}
