"""Comparisons of an outline: with the ground truth that was uploaded next to a scan, and with a second model."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bcdseg.app.app_state import AppState, predict_request
from bcdseg.app.reviews.handlers import outlined
from bcdseg.app.sessions import PackedMask
from bcdseg.data.masks import dice, mask_of
from bcdseg.errors import InputError


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
