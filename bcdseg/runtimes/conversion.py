"""Graphs traced from a network, and quantised to 8 bits."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bcdseg.extras import require
from bcdseg.networks.ensemble import AnyNetwork
from bcdseg.networks.folding import fold_batch_norm
from bcdseg.runtimes.torch_runtime import InferenceModule, filled_fields

IMAGE = "image"


class Traced(NamedTuple):
    """A graph from a batch of one preprocessed scan to what the fields of ``Answers`` hold, in the order of ``outputs``."""

    program: torch.export.ExportedProgram
    outputs: tuple[str, ...]


def trace(network: AnyNetwork, size: tuple[int, int], *, any_size: bool, precision: str = "fp32") -> Traced:
    """The folded network as a graph.

    Args:
        network: It stays as it is.
        size: Height and width of the graph's input.
        any_size: Whether it takes any other multiple of the network's stride as well.
        precision: What the graph itself computes in.
    """
    folded = fold_batch_norm(network, size).requires_grad_(False).cpu()
    if any_size:  # sizes of 0 and 1 would be taken for constants, and equal ones for the same
        size = (3 * folded.stride, 4 * folded.stride)
    image = torch.zeros(1, folded.config.in_channels, *size)
    sides: Any = {axis: folded.stride * torch.export.Dim(name) for axis, name in ((2, "down"), (3, "across"))}
    answering = InferenceModule(folded, precision).eval()
    program = torch.export.export(answering, (image,), dynamic_shapes=(sides,) if any_size else None)
    return Traced(program, filled_fields(network))


EXACT = ("MatMul", "ReduceMean", "AvgPool")  # in OpenVINO: classification head and resizing: little work, and sensitive
IN_8_BITS = ("Conv", "Clip", "Relu")  # in ONNX; convolutions are nearly all of the work
READY = ("onnx.quant.pre_process", "onnxruntime.quant")  # without this mark on a graph, a warning to simplify it first


def quantised_openvino(model: Any, calibrate_on: Sequence[Any]) -> Any:
    """An OpenVINO model with its convolutions in int8 where that is faster.

    Args:
        model: The model.
        calibrate_on: Inputs of it, which the ranges of numbers are taken from.
    """
    nncf = require("nncf", extra="int8", purpose="int8")
    nncf.set_log_level(logging.ERROR)
    exact = nncf.IgnoredScope(types=list(EXACT), validate=False)
    preset, data = nncf.QuantizationPreset.MIXED, nncf.Dataset(list(calibrate_on))
    return nncf.quantize(model, data, subset_size=len(calibrate_on), preset=preset, ignored_scope=exact)


def quantised_onnx(proto: Any, calibrate_on: Sequence[Mapping[str, Any]]) -> Any:
    """An ONNX model with its convolutions in int8, in the form that ONNX Runtime joins into single steps.

    Args:
        proto: The model; it is changed.
        calibrate_on: Inputs of it by name, which the ranges of numbers are taken from.
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
