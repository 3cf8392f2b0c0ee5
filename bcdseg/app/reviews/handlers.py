"""Handlers for reviews: what readers state about scans, and corrections of outlines and classes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bcdseg.app.app_state import AppState, predict_request
from bcdseg.app.responses import edges
from bcdseg.app.reviews.corrections import Corrections, Record
from bcdseg.app.reviews.review import parse_review
from bcdseg.data.masks import dice
from bcdseg.errors import OptionError
from bcdseg.inference.lesions import find_lesions
from bcdseg.inference.prediction import Prediction
from bcdseg.types import Area, Mask

SHOWN = ("reader", "verdict", "label", "outline", "revision", "saved", "predicted_by", "predicted_label")
OFF = "Corrections are not saved: start bcdseg app with --corrections FOLDER."


def reviews(state: AppState, request: Request) -> Response:
    """Return the latest review of a scan by each reader, in the order of saving."""
    corrections = _corrections(state)
    prediction = state.predict(request)
    records = corrections.of(state.scan(request))
    return JSONResponse({"reviews": [_shown(record, corrections, prediction) for record in records]})


def take_review(state: AppState, request: Request, content: bytes) -> Response:
    """Save a review of a scan, and return the saved record."""
    corrections, scan = _corrections(state), state.scan(request)
    options, prediction = predict_request(state, request), state.predict(request)
    review = parse_review(content, prediction.size, state.predictions.models.get(options.model).classes)
    record, kept = corrections.save(scan, review, prediction, state.predictions.models.content_hash(options.model))
    return JSONResponse(_shown(record, corrections, prediction) | {"kept": kept})


def outlined(prediction: Prediction, mask: Mask | None) -> dict[str, Any]:
    """Return an outline as the page receives it: with its lesions, measured by the library, and its Dice with the model's."""
    if mask is None:
        return {"edges": None, "lesions": [], "sizes": [], "dice": None}
    probability = np.zeros(mask.shape, np.float32) if prediction.mask_probability is None else prediction.mask_probability
    area = None if prediction.area is None else Area(box=prediction.area, spacing=prediction.spacing)
    lesions = find_lesions(mask, probability, min_share=0, spacing=prediction.spacing, pixels=prediction.image, area=area)[1]
    agreement = None if prediction.mask is None else dice(mask, prediction.mask)
    return {
        "edges": edges(mask),
        "lesions": [asdict(one) for one in lesions],
        "sizes": [str(one) for one in lesions],
        "dice": agreement,
    }


def _corrections(state: AppState) -> Corrections:
    if state.corrections is None:
        raise OptionError(OFF)
    return state.corrections


def _shown(record: Record, corrections: Corrections, prediction: Prediction) -> dict[str, Any]:
    mask = corrections.mask(record, prediction.size)
    return {name: getattr(record, name) for name in SHOWN} | outlined(prediction, mask)
