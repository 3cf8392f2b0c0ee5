"""An answer as a file to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bcdseg.app.scans import Scan
from bcdseg.data.dicom.algorithm import Algorithm
from bcdseg.data.dicom.identity import read_reference
from bcdseg.data.dicom.segmentation import encode_segmentation
from bcdseg.errors import OptionError
from bcdseg.infer.output import json_bytes, output_names, png_bytes
from bcdseg.infer.prediction import Prediction

NO_MASK = "This model only classifies: there is no outline to download."


@dataclass(frozen=True)
class Download:
    """A kind of file: how its name ends, its media type, and what makes it."""

    ending: str
    media_type: str
    make: Callable[[Prediction, Scan], bytes]


def file_name(scan: Scan, download: Download) -> str:
    """The scan's name with the ending of the download."""
    return Path(next(iter(output_names([Path(scan.name)]).values()))).name + download.ending


def _mask(prediction: Prediction, _: Scan) -> bytes:
    if prediction.mask is None:
        raise OptionError(NO_MASK)
    return png_bytes(Image.fromarray(prediction.mask))


def _overlay(prediction: Prediction, _: Scan) -> bytes:
    return png_bytes(prediction.overlay())


def _facts(prediction: Prediction, _: Scan) -> bytes:
    return json_bytes(prediction.to_dict())


def _segmentation(prediction: Prediction, scan: Scan) -> bytes:
    """As ``bcdseg.save_dicom_seg``, without a file: nothing of the page's is ever on disk."""
    if prediction.mask is None:
        raise OptionError(NO_MASK)
    reference = read_reference(scan.content, keep_identifiers=False)
    return encode_segmentation(
        reference,
        [prediction.frame],
        prediction.mask[None],
        spacing=prediction.spacing,
        algorithm=Algorithm(prediction.model),
        name=scan.name,
    )


DOWNLOADS = {
    "mask.png": Download("_mask.png", "image/png", _mask),
    "overlay.png": Download("_overlay.png", "image/png", _overlay),
    "answer.json": Download(".json", "application/json", _facts),
    "outline.dcm": Download("_seg.dcm", "application/dicom", _segmentation),
}
