"""LiteRT models with smaller numbers, by Google's quantiser. Only the network's: resizing and thresholds stay exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bcdseg.extras import require

NETWORK = r"bcdseg\.network"  # in the names of the network's own tensors, and in no other's
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")
SIGNATURE = "serving_default"


def with_half_weights(model: bytes) -> bytes:
    """Weights of 16 bits, which a runtime widens, or calculates with where the device can."""
    types = _module("qtyping")
    half = types.OpQuantizationConfig(
        weight_tensor_config=types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT),
        compute_precision=types.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    quantiser = _module("quantizer").Quantizer(model)
    for name in (*CONVOLUTIONS, "FULLY_CONNECTED"):
        quantiser.update_quantization_recipe(NETWORK, types.TFLOperationName(name), half, "float_casting")
    return _quantised(quantiser, None)


def in_eight_bits(model: bytes, calibrate_on: Sequence[dict[str, Any]]) -> bytes:
    """Convolutions in 8 bits, weights and what flows through them; the ranges of the latter are those of some inputs."""
    types, quantiser = _module("qtyping"), _module("quantizer").Quantizer(model)
    for name in CONVOLUTIONS:
        quantiser.add_static_config(NETWORK, types.TFLOperationName(name), activation_num_bits=8, weight_num_bits=8)
    return _quantised(quantiser, quantiser.calibrate({SIGNATURE: calibrate_on}))


def _quantised(quantiser: Any, ranges: Any) -> bytes:
    return bytes(quantiser.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _module(name: str) -> Any:
    return require(f"ai_edge_quantizer.{name}", extra="litert", purpose="A smaller LiteRT file")
