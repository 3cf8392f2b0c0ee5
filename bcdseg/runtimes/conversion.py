"""Graphs traced from a network, and quantised to 8 bits."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bcdseg.extras import require
from bcdseg.networks.folding import fold_batch_norm
from bcdseg.networks.network import AnyNetwork
from bcdseg.runtimes.torch_runtime import InferenceModule, filled_fields


class Traced(NamedTuple):
    """Graph from a batch of one preprocessed scan to the fields of ``RawOutput`` that ``outputs`` names, in that order."""

    program: torch.export.ExportedProgram
    outputs: tuple[str, ...]


def trace(network: AnyNetwork, size: tuple[int, int], *, any_size: bool, precision: str = "fp32") -> Traced:
    """Trace a network, with its batch norms folded.

    Args:
        network: Network to trace; it is not changed.
        size: Height and width of the graph's input.
        any_size: Whether the graph accepts any other multiple of the network's stride as well.
        precision: Precision of the computations in the graph.
    """
    folded = fold_batch_norm(network, size).requires_grad_(False).cpu()
    if any_size:  # torch.export specializes on sizes of 0 and 1, and on equal sizes
        size = (3 * folded.stride, 4 * folded.stride)
    image = torch.zeros(1, folded.config.in_channels, *size)
    sides: Any = {axis: folded.stride * torch.export.Dim(name) for axis, name in ((2, "down"), (3, "across"))}
    module = InferenceModule(folded, precision).eval()
    program = torch.export.export(module, (image,), dynamic_shapes=(sides,) if any_size else None)
    return Traced(program, filled_fields(network))


EXACT = ("MatMul", "ReduceMean", "AvgPool")  # OpenVINO types of the classification head and resizing: cheap, but sensitive to int8
IN_8_BITS = ("Conv", "Clip", "Relu")  # ONNX types; convolutions are nearly all of the computation
READY = ("onnx.quant.pre_process", "onnxruntime.quant")  # metadata that suppresses a warning to simplify the graph first


def quantised_openvino(model: Any, calibrate_on: Sequence[Any]) -> Any:
    """Return an OpenVINO model with its convolutions in int8 where that is faster.

    Args:
        model: OpenVINO model.
        calibrate_on: Inputs of the model for the calibration of ranges.
    """
    nncf = require("nncf", extra="int8", purpose="int8")
    nncf.set_log_level(logging.ERROR)
    exact = nncf.IgnoredScope(types=list(EXACT), validate=False)
    preset, data = nncf.QuantizationPreset.MIXED, nncf.Dataset(list(calibrate_on))
    return nncf.quantize(model, data, subset_size=len(calibrate_on), preset=preset, ignored_scope=exact)


def quantised_onnx(proto: Any, calibrate_on: Sequence[Mapping[str, Any]]) -> Any:
    """Return an ONNX model with its convolutions in int8, in the form that ONNX Runtime fuses to single operators.

    Args:
        proto: ONNX model; it is changed.
        calibrate_on: Inputs of the model by name, for the calibration of ranges.
    """
    onnx = require("onnx", extra="onnx", purpose="ONNX")
    quantization = require("onnxruntime.quantization", extra="onnx", purpose="int8")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        scans = iter(calibrate_on)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self.scans, None)

    proto.metadata_props.add(key=READY[0], value=READY[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            proto,
            path,
            Reader(),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=list(IN_8_BITS),
        )
        return onnx.load(path)
