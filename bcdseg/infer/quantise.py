"""Networks in 8 bits, by NNCF (extra ``int8``), for OpenVINO and for ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from bcdseg.extras import require

EXACT = ("MatMul", "Gemm", "ReduceMean", "AvgPool", "AveragePool")  # classification head and resizing: little work, and sensitive


def quantised(model: Any, calibrate_on: Sequence[Any]) -> Any:
    """The model with its convolutions in int8 where that is faster.

    Args:
        model: An OpenVINO or ONNX model.
        calibrate_on: Inputs of it, which the ranges of numbers are taken from.
    """
    nncf = require("nncf", extra="int8", purpose="int8")
    nncf.set_log_level(logging.ERROR)
    exact = nncf.IgnoredScope(types=list(EXACT), validate=False)
    preset, data = nncf.QuantizationPreset.MIXED, nncf.Dataset(list(calibrate_on))
    return nncf.quantize(model, data, subset_size=len(calibrate_on), preset=preset, ignored_scope=exact)
