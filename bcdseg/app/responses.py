"""Predictions as the page receives and downloads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.app.sessions import UploadedScan
from bcdseg.dicom.deidentify import SHARED, read_reference
from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.inference.dicom_output import encode_dicom_seg
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.writers import json_bytes, output_names, png_bytes
from bcdseg.model.model import Model
from bcdseg.types import Mask

STEPS = 100
"""Steps of the slider; the page thresholds the levels at the very numbers that the library compares with."""

ORIGINS = {
    "given": "given by you",
    "ultrasound region": "from the file: the machine's own calibration of the scan area",
    "pixel spacing": "from the file: its pixel spacing",
    "imager pixel spacing": "from the file: pixel spacing at an X-ray detector, where all is larger than in the patient",
}


def facts(prediction: Prediction, model: Model, *, dicom: bool) -> dict[str, Any]:
    """Return all that the page shows for a scan."""
    return prediction.to_dict() | {
        "confidence": prediction.confidence,
        "sizes": [str(lesion) for lesion in prediction.lesions],
        "origin": ORIGINS.get(prediction.spacing_from or "", prediction.spacing_from),
        "own_threshold": model.rules.threshold,
        "min_lesion_share": model.rules.min_lesion_share,
        "points": {point.name: str(point) for point in model.rules.operating_points},
        "edges": None if prediction.mask is None else edges(prediction.mask),
        "candidate_edges": None if prediction.candidate_mask is None else edges(prediction.candidate_mask),
        "areas": [{"box": area.box, "spacing_mm": area.spacing} for area in prediction.areas],
        "dicom": dicom,
        "model": prediction.model,
        "trained": bool(model.training),
    }


def edges(mask: Mask) -> list[int]:
    """Return the flat indices where a mask's runs start and end, row by row: the page fills from each start up to the next end."""
    flat = np.concatenate(([False], mask.ravel(), [False]))
    places: list[int] = np.flatnonzero(flat[1:] != flat[:-1]).tolist()
    return places


def levels(prediction: Prediction) -> bytes:
    """Return the hundredths that each pixel's probability reaches, one byte per pixel: exact at each step of the slider."""
    if prediction.mask_probability is None:
        return b""
    reached = np.searchsorted(_hundredths(), prediction.mask_probability.ravel(), side="right")
    return reached.astype(np.uint8).tobytes()


def _hundredths() -> Any:
    return np.array([step / STEPS for step in range(1, STEPS + 1)], np.float32)


def card_html(model: Model) -> str:
    """Return the card as HTML. A card comes with its model: its markup is escaped, and its images are omitted."""
    markdown = require("markdown_it", extra="app", purpose="The page").MarkdownIt("commonmark", {"html": False})
    text = model.card.partition("---\n")[2].partition("---\n")[2]  # without the hub's metadata
    html: str = markdown.enable("table").disable("image").render(text)
    return html


NO_MASK = "This model only classifies: there is no outline to download."


@dataclass(frozen=True)
class Download:
    """Kind of download: the suffix of its file name, its media type, and the function that makes its content."""

    ending: str
    media_type: str
    make: Callable[[Prediction, UploadedScan], bytes]


def file_name(scan: UploadedScan, download: Download) -> str:
    """Return the scan's name with the suffix of the download."""
    return Path(next(iter(output_names([Path(scan.name)]).values()))).name + download.ending


def _mask(prediction: Prediction, _: UploadedScan) -> bytes:
    if prediction.mask is None:
        raise OptionError(NO_MASK)
    return png_bytes(Image.fromarray(prediction.mask))


def _overlay(prediction: Prediction, _: UploadedScan) -> bytes:
    return png_bytes(prediction.overlay())


def _facts(prediction: Prediction, _: UploadedScan) -> bytes:
    return json_bytes(prediction.to_dict())


def _segmentation(prediction: Prediction, scan: UploadedScan) -> bytes:
    """Return what ``bcdseg.save_dicom_seg`` writes, without a file: nothing of the page is ever written to disk."""
    if prediction.mask is None:
        raise OptionError(NO_MASK)
    reference = read_reference(scan.content, identity=SHARED)
    return encode_dicom_seg(prediction, reference, name=scan.name)


DOWNLOADS = {
    "mask.png": Download("_mask.png", "image/png", _mask),
    "overlay.png": Download("_overlay.png", "image/png", _overlay),
    "prediction.json": Download(".json", "application/json", _facts),
    "outline.dcm": Download("_seg.dcm", "application/dicom", _segmentation),
}
