"""Handlers for readers: their reviews and corrections, and comparisons of outlines with the ground truth and a second model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bcdseg.app.app_state import AppState, predict_request
from bcdseg.app.responses import edges
from bcdseg.app.reviews.corrections import Corrections, Record
from bcdseg.app.reviews.review import parse_review
from bcdseg.app.sessions import PackedMask
from bcdseg.data.masks import dice, mask_of
from bcdseg.errors import InputError, OptionError
from bcdseg.inference.lesions import Lesion, find_lesions, largest_first, without_posterior_features
from bcdseg.inference.prediction import Prediction
from bcdseg.types import Area, Mask

SHOWN = ("reader", "verdict", "label", "outline", "outlined_by", "revision", "saved", "predicted_by", "predicted_label")
OFF = "Corrections are not saved: start bcdseg app with --corrections FOLDER."


def reviews(state: AppState, request: Request) -> Response:
    """Return the latest review of a scan by each reader, in the order of saving."""
    corrections = _corrections(state)
    prediction, model = state.predict(request), state.predictions.models.get(predict_request(state, request).model)
    records = corrections.of(state.scan(request))
    return JSONResponse({"reviews": [_shown(record, corrections, prediction, model.no_lesion) for record in records]})


def take_review(state: AppState, request: Request, content: bytes) -> Response:
    """Save a review of a scan, and return the saved record."""
    corrections, scan = _corrections(state), state.scan(request)
    options, prediction = predict_request(state, request), state.predict(request)
    model = state.predictions.models.get(options.model)
    review = parse_review(content, prediction.size, model.classes)
    record, kept = corrections.save(scan, review, prediction, state.predictions.models.content_hash(options.model))
    return JSONResponse(_shown(record, corrections, prediction, model.no_lesion) | {"kept": kept})


def outlined(prediction: Prediction, mask: Mask | None) -> dict[str, Any]:
    """Return an outline as the page receives it: with its lesions, measured by the library, and its Dice with the model's."""
    if mask is None:
        return {"edges": None, "lesions": [], "sizes": [], "dice": None}
    lesions = _measured(prediction, mask)
    agreement = None if prediction.mask is None else dice(mask, prediction.mask)
    return {
        "edges": edges(mask),
        "lesions": [asdict(one) for one in lesions],
        "sizes": [str(one) for one in lesions],
        "dice": agreement,
    }


def _measured(prediction: Prediction, mask: Mask) -> tuple[Lesion, ...]:
    """Return the lesions of an outline, the largest first: those in each region with its scale, like the model's own."""
    probability = np.zeros(mask.shape, np.float32) if prediction.mask_probability is None else prediction.mask_probability
    lesions: list[Lesion] = []
    for area, part in _by_area(prediction.areas, mask):
        lesions += find_lesions(part, probability, min_share=0, spacing=area.spacing, pixels=prediction.image, area=area)[1]
    found = largest_first(lesions)
    return without_posterior_features(found) if any(flag.code == "upside-down" for flag in prediction.flags) else found


def _by_area(areas: Sequence[Area], mask: Mask) -> Iterator[tuple[Area, Mask]]:
    """Yield each region with its part of an outline. What is outside of several regions has no scale."""
    if len(areas) == 1:
        yield areas[0], mask
        return
    rest = mask.copy()
    for area in (*areas, Area(box=(0, 0, *mask.shape))):
        part = np.zeros_like(mask)
        part[area.window] = rest[area.window]
        rest[area.window] = False
        yield area, part


def _corrections(state: AppState) -> Corrections:
    if state.corrections is None:
        raise OptionError(OFF)
    return state.corrections


def _shown(record: Record, corrections: Corrections, prediction: Prediction, no_lesion: str | None) -> dict[str, Any]:
    mask = corrections.mask(record, prediction.size)
    shown = {name: getattr(record, name) for name in SHOWN} | {"contradiction": _contradiction(record, mask, no_lesion)}
    return shown | outlined(prediction, mask)


def _contradiction(record: Record, mask: Mask | None, no_lesion: str | None) -> str | None:
    """Return how the class and the outline that a review makes ground truth contradict each other, and what to do; or None."""
    if mask is None or record.true_mask is None or record.true_label is None or no_lesion is None:
        return None
    if mask.any() and record.true_label == no_lesion:
        return f"A lesion is outlined, but the class is {no_lesion}: clear the outline, or choose another class."
    if not mask.any() and record.true_label != no_lesion:
        return f"The class is {record.true_label}, but no lesion is outlined: outline it, or choose another class."
    return None


def take_truth(state: AppState, request: Request, content: bytes) -> Response:
    """Add a mask file to the ground truth of a scan: a pixel is lesion if it is lesion in any of its mask files."""
    session, scan, prediction = state.session(request), state.scan(request), state.predict(request)
    name = request.query_params.get("name", "")[-200:] or "The mask"
    mask = mask_of(state.predictions.read(content, name).pixels)
    if mask.shape != prediction.size:
        sizes = f"{mask.shape[0]}x{mask.shape[1]} pixels, its scan {prediction.size[0]}x{prediction.size[1]} (height x width)"
        raise InputError(f"{name}: the mask is {sizes}. Check that they belong together.")
    before = session.truths.get(scan.id)
    merged = mask if before is None else mask | before.unpack()
    session.keep_truth(scan, PackedMask.pack(merged), state.limits)
    return JSONResponse(outlined(prediction, merged))


def truth(state: AppState, request: Request) -> Response:
    """Return the ground truth of a scan with its Dice, without edges where there is none."""
    packed = state.session(request).truths.get(state.scan(request).id)
    return JSONResponse(outlined(state.predict(request), None if packed is None else packed.unpack()))


def second_model(state: AppState, request: Request) -> Response:
    """Return the prediction of a second model at its own threshold, and its agreement with the first one."""
    scan, first = state.scan(request), state.predict(request)
    own = replace(
        predict_request(state, request), model=request.query_params.get("second", ""), threshold=None, operating_point=None
    )
    second = state.predictions.predict(scan, own)
    agreement = None if first.mask is None or second.mask is None else dice(first.mask, second.mask)
    same = None if first.label is None or second.label is None else first.label == second.label
    return JSONResponse(
        outlined(second, second.mask)
        | {
            "model": own.model,
            "label": second.label,
            "confidence": second.confidence,
            "threshold": second.threshold,
            "dice": agreement,
            "same_label": same,
        }
    )
