"""Response bodies of the server."""

from __future__ import annotations

import base64
import json
from typing import Any

from PIL import Image
from pydantic import BaseModel, Field

from bcdseg import __version__
from bcdseg.errors import OptionError
from bcdseg.inference.dicom_output import encode_dicom_seg
from bcdseg.inference.lesions import Lesion
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.writers import png_bytes
from bcdseg.serve.upload import NAME
from bcdseg.types import Mask

USE = "For research. Not a medical device: not for diagnosis."


class FlagFound(BaseModel):
    """Warning about a prediction."""

    code: str
    message: str


class PredictionResponse(BaseModel):
    """Prediction of a scan."""

    source: str = Field(description="Always 'upload': names of files are not read; of a clip, with the frame's number.")
    height: int
    width: int
    label: str | None = Field(description="The class; null for a model that only segments.")
    probabilities: dict[str, float] = Field(description="Calibrated, by class.")
    label_set: list[str] | None = Field(
        default=None, description="Classes that can't be excluded; null for a model without conformal rules."
    )
    lesions: list[Lesion] = Field(description="The largest first; places and lengths in pixels, in mm where the scale is known.")
    candidates: list[Lesion] = Field(description="Outlined regions below the model's presence threshold: no findings.")
    flags: list[FlagFound]
    spacing_mm: tuple[float, float] | None = Field(description="Millimetres per pixel, down and across.")
    spacing_from: str | None
    frame: int | None = Field(description="Of a clip, counted from 1.")
    threshold: float
    operating_point: str | None
    model: str
    library_version: str
    use: str = USE
    mask_png: str | None = Field(default=None, description="The mask as PNG in base64, with mask=true.")


def json_body(prediction: Prediction, _: Any, *, with_mask: bool) -> bytes:
    """Return all fields of a prediction but the pixels as JSON, and on request the mask."""
    facts: dict[str, Any] = prediction.to_dict()
    facts |= {"model": prediction.model, "library_version": __version__, "use": USE, "mask_png": None}
    if with_mask and prediction.mask is not None:
        facts["mask_png"] = base64.b64encode(mask_body(prediction, None)).decode("ascii")
    return json.dumps(facts, ensure_ascii=False, allow_nan=False).encode()


def mask_body(prediction: Prediction, _: Any) -> bytes:
    """Return the mask as a 1-bit PNG, of the scan's size."""
    return png_bytes(Image.fromarray(_mask(prediction)))


def segmentation_body(prediction: Prediction, reference: Any, *, kind: str) -> bytes:
    """Return the mask, or its probability, as DICOM-SEG without identifiers (see ``bcdseg.save_dicom_seg``).

    Args:
        prediction: Prediction of one frame.
        reference: DICOM attributes of the source that the segmentation refers to; see ``read_reference``.
        kind: ``binary`` or ``probability``.
    """
    _mask(prediction)
    return encode_dicom_seg(prediction, reference, kind=kind, name=NAME)


def _mask(prediction: Prediction) -> Mask:
    if prediction.mask is None:
        raise OptionError(f"{prediction.model} only classifies and has no mask. Request the class from /predict.")
    return prediction.mask
