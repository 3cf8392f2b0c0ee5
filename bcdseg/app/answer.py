"""An answer as the page takes it: facts as JSON, and a map of levels that its slider cuts."""

from __future__ import annotations

from typing import Any

import numpy as np

from bcdseg.infer.prediction import Prediction
from bcdseg.model.model import Model
from bcdseg.types import Mask

STEPS = 100
"""Places of the slider; the page cuts the map at the very numbers that the library compares with."""

ORIGINS = {
    "given": "given by you",
    "ultrasound region": "from the file: the machine's own calibration of the scan area",
    "pixel spacing": "from the file: its pixel spacing",
    "imager pixel spacing": "from the file: pixel spacing at an X-ray detector, where all is larger than in the patient",
}


def facts(prediction: Prediction, model: Model, *, dicom: bool) -> dict[str, Any]:
    """All that the page says of a scan."""
    return prediction.to_dict() | {
        "confidence": prediction.confidence,
        "sizes": [str(lesion) for lesion in prediction.lesions],
        "origin": ORIGINS.get(prediction.spacing_from or "", prediction.spacing_from),
        "own_threshold": model.rules.threshold,
        "min_lesion_share": model.rules.min_lesion_share,
        "points": {point.name: str(point) for point in model.rules.operating_points},
        "edges": None if prediction.mask is None else edges(prediction.mask),
        "candidate_edges": None if prediction.candidate_mask is None else edges(prediction.candidate_mask),
        "dicom": dicom,
        "model": prediction.model,
        "trained": bool(model.training),
    }


def edges(mask: Mask) -> list[int]:
    """Where a mask begins and ends, read row after row: the page fills from each first number up to the next."""
    flat = np.concatenate(([False], mask.ravel(), [False]))
    places: list[int] = np.flatnonzero(flat[1:] != flat[:-1]).tolist()
    return places


def levels(prediction: Prediction) -> bytes:
    """How many hundredths each pixel's probability reaches, one byte a pixel: exact at each step of the slider."""
    if prediction.mask_probability is None:
        return b""
    reached = np.searchsorted(_hundredths(), prediction.mask_probability.ravel(), side="right")
    return reached.astype(np.uint8).tobytes()


def _hundredths() -> Any:
    return np.array([step / STEPS for step in range(1, STEPS + 1)], np.float32)
