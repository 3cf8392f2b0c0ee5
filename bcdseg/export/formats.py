"""Export formats."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bcdseg.export.litert import CANVAS, make_litert, open_litert
from bcdseg.export.monai_bundle import make_bundle, open_bundle
from bcdseg.export.pipeline import SCAN, Subject, trace_pipeline
from bcdseg.extras import require
from bcdseg.registry import EXPORT_FORMATS
from bcdseg.runtimes import onnx, openvino
from bcdseg.runtimes.conversion import Traced, quantised_onnx, quantised_openvino

Scans = NDArray[np.uint8]
Outputs = dict[str, NDArray[Any]]
FACTS = "bcdseg.json"


@dataclass(frozen=True, kw_only=True)
class Format:
    """Export format.

    Attributes:
        suffix: Suffix of the file that is opened.
        precisions: Names of the precisions that it supports.
        make: Function that returns the content of each file by suffix, with the file that is opened last.
        opened: Function that loads the file and returns a function from scans to outputs by name.
        largest: Height and width of the largest supported scan; None means ``pipeline.LARGEST``.
    """

    suffix: str
    precisions: tuple[str, ...]
    make: Callable[[Subject, str, Sequence[Scans]], dict[str, bytes]]
    opened: Callable[[Path, Subject], Callable[[Scans], Outputs]]
    largest: int | None = None


def _make_onnx(subject: Subject, precision: str, calibrate_on: Sequence[Scans]) -> dict[str, bytes]:
    proto = onnx.to_onnx(trace_pipeline(subject, precision), (SCAN,), subject.outputs)
    if precision == "int8":
        proto = quantised_onnx(proto, [{SCAN: scan[None]} for scan in calibrate_on])
    del proto.metadata_props[:]
    for name, value in subject.facts(precision).items():
        proto.metadata_props.add(key=name, value=value)
    return {".onnx": proto.SerializeToString()}


def _open_onnx(path: Path, subject: Subject) -> Callable[[Scans], Outputs]:
    session = onnx.session_of(str(path))
    return lambda scans: dict(zip(subject.outputs, session.run(list(subject.outputs), {SCAN: scans}), strict=True))


def _make_openvino(subject: Subject, precision: str, calibrate_on: Sequence[Scans]) -> dict[str, bytes]:
    model = openvino.to_openvino(Traced(trace_pipeline(subject, "fp32"), subject.outputs))
    if precision == "int8":
        model = quantised_openvino(model, [scan[None] for scan in calibrate_on])
    for name, value in subject.facts(precision).items():
        model.set_rt_info(value, ["bcdseg", name])
    description, weights = openvino.contents(model, half=precision == "fp16")
    return {".bin": weights, ".xml": description}


def _open_openvino(path: Path, subject: Subject) -> Callable[[Scans], Outputs]:
    openvino = require("openvino", extra="openvino", purpose="OpenVINO")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(scans: Scans) -> Outputs:
        found = compiled(scans)
        return {name: found[name] for name in subject.outputs}

    return run


def _make_torch(subject: Subject, precision: str, _: Sequence[Scans]) -> dict[str, bytes]:
    content = io.BytesIO()
    facts = {FACTS: json.dumps(subject.facts(precision))}
    torch.export.save(trace_pipeline(subject, precision), content, extra_files=facts)
    return {".pt2": content.getvalue()}


def _open_torch(path: Path, subject: Subject) -> Callable[[Scans], Outputs]:
    module = torch.export.load(path).module()

    def run(scans: Scans) -> Outputs:
        with torch.inference_mode():
            found = module(torch.tensor(scans))
        return {name: np.asarray(value) for name, value in zip(subject.outputs, found, strict=True)}

    return run


_FORMATS = {
    "onnx": Format(suffix=".onnx", precisions=("fp32", "fp16", "int8"), make=_make_onnx, opened=_open_onnx),
    "openvino": Format(suffix=".xml", precisions=("fp32", "fp16", "int8"), make=_make_openvino, opened=_open_openvino),
    "litert": Format(suffix=".tflite", precisions=("fp32", "fp16", "int8"), make=make_litert, opened=open_litert, largest=CANVAS),
    "torch": Format(suffix=".pt2", precisions=("fp32",), make=_make_torch, opened=_open_torch),
    "monai": Format(suffix=".zip", precisions=("fp32",), make=make_bundle, opened=open_bundle),
}

for _name, _format in _FORMATS.items():
    EXPORT_FORMATS.register(_name)(_format)
FORMATS = EXPORT_FORMATS
"""Formats by name, the library's own and those that others have registered."""
