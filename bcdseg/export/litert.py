"""Export to LiteRT.

The input is a canvas of fixed size with the scan at its top left, and a second input contains the scan's height and width. The
graph therefore includes the exact resizing, although LiteRT requires inputs of one size.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import OptionError
from bcdseg.export.pipeline import SCAN, Pipeline, Subject
from bcdseg.extras import require

SIZE = "size"
CANVAS = 1024  # height and width in pixels
FACTS = "bcdseg.json"
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same model gives the same file
PURPOSE = "Writing LiteRT, in an environment of its own since its converter needs an older torch,"
Inputs = dict[str, NDArray[Any]]


class _Named(nn.Module):
    """Pipeline whose outputs have names."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.pipeline = Pipeline(subject, "fp32")
        self.outputs = subject.outputs

    def forward(self, scan: Tensor, size: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.outputs, self.pipeline(scan, size), strict=True))


def make_litert(subject: Subject, precision: str, calibrate_on: Sequence[NDArray[np.uint8]]) -> dict[str, bytes]:
    """Convert a model to a LiteRT file, with its metadata in a zip archive at the end."""
    path = subject.preprocessing
    if path.resize == "none":
        raise OptionError(
            f"{subject.name}: resizes by 'none', and a LiteRT file has one size. Take another format, or train with "
            "resize='stretch' or 'fit'."
        )
    converter = require("litert_torch", extra="litert", purpose=PURPOSE)
    converter.config.show_progress = False
    example = {name: torch.tensor(array) for name, array in inputs_of(np.zeros(_scan_shape(path), np.uint8), path).items()}
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # for the converter's torch warnings; stderr for the quantiser's progress bars
        content = converter.convert(_Named(subject).eval(), sample_kwargs=example).model_content()
        if precision == "fp16":
            content = with_half_weights(content)
        elif precision == "int8":
            content = in_eight_bits(content, [inputs_of(scan, path) for scan in calibrate_on])
    return {".tflite": with_facts(content, litert_facts(subject, precision))}


def open_litert(path: Path, subject: Subject) -> Callable[[NDArray[np.uint8]], Inputs]:
    """Load a LiteRT file as a function that runs scans one by one."""
    runtime = require("ai_edge_litert.interpreter", extra="litert", purpose="Running LiteRT")
    run = runtime.Interpreter(model_path=str(path), num_threads=torch.get_num_threads()).get_signature_runner()

    def one(scan: NDArray[np.uint8]) -> Inputs:
        found = run(**inputs_of(scan, subject.preprocessing))
        maps = {name: array[:, : scan.shape[0], : scan.shape[1]].copy() for name, array in found.items() if array.ndim > 2}
        return {name: maps.get(name, found[name]) for name in subject.outputs}

    def each(scans: NDArray[np.uint8]) -> Inputs:
        outputs = [one(scan) for scan in scans]
        return {name: np.concatenate([output[name] for output in outputs]) for name in subject.outputs}

    return each


def inputs_of(scan: NDArray[np.uint8], path: Preprocessing) -> Inputs:
    """Return the inputs of the exported model for a scan."""
    canvas = np.zeros((1, *canvas_size(path), *scan.shape[2:]), np.uint8)
    canvas[0, : scan.shape[0], : scan.shape[1]] = scan
    return {SCAN: canvas, SIZE: np.array(scan.shape[:2], np.int32)}


def canvas_size(path: Preprocessing) -> tuple[int, int]:
    """Return the height and width of the scan input."""
    return max(CANVAS, path.frame[0]), max(CANVAS, path.frame[1])


def litert_facts(subject: Subject, precision: str) -> dict[str, str]:
    """Return the metadata of the file, like that of the other formats but for inputs of one size."""
    path = subject.preprocessing
    sides = " x ".join(map(str, (1, *canvas_size(path), *_colours(path))))
    facts = subject.facts(precision)
    outside = ["placing the scan at the top left of the canvas, and cutting the maps to its size", *json.loads(facts["outside"])]
    given = f"{SCAN}: uint8, {sides}, the scan at the top left; {SIZE}: int32, its height and width"
    return {**facts, "input": given, "outside": json.dumps(outside)}


def with_facts(content: bytes, facts: dict[str, str]) -> bytes:
    """Append metadata to a model as a zip archive, as TensorFlow Lite does; interpreters ignore it."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(FACTS, LONG_AGO), json.dumps(facts, indent=1))
    return file.getvalue()


def _scan_shape(path: Preprocessing) -> tuple[int, ...]:
    return (*path.frame, *_colours(path))


def _colours(path: Preprocessing) -> tuple[int, ...]:
    return (3,) if path.channels == 3 else ()


NETWORK = r"bcdseg\.network"  # pattern in the names of the network's tensors only
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")
SIGNATURE = "serving_default"


def with_half_weights(model: bytes) -> bytes:
    """Convert weights to 16 bits, which the runtime widens or, where the device supports it, uses directly."""
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
    """Quantise weights and activations of convolutions to 8 bits, with activation ranges calibrated on some inputs."""
    types, quantiser = _module("qtyping"), _module("quantizer").Quantizer(model)
    for name in CONVOLUTIONS:
        quantiser.add_static_config(NETWORK, types.TFLOperationName(name), activation_num_bits=8, weight_num_bits=8)
    return _quantised(quantiser, quantiser.calibrate({SIGNATURE: calibrate_on}))


def _quantised(quantiser: Any, ranges: Any) -> bytes:
    return bytes(quantiser.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _module(name: str) -> Any:
    return require(f"ai_edge_quantizer.{name}", extra="litert", purpose="A smaller LiteRT file")
