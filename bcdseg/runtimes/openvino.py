"""The OpenVINO engine (extra ``openvino``)."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.extras import require
from bcdseg.networks.fork_safety import never_destroy_in_children, note_threads
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.graph import Run, thread_limit

if TYPE_CHECKING:
    from bcdseg.runtimes.conversion import Traced

LENGTH = 8  # bytes with the length of the description, at the start; the weights follow the description
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # int8: precision of the layers that are not quantised


class OpenVino:
    """Engine that runs graphs with OpenVINO."""

    name = "openvino"
    precision_is_traced = False

    def version(self) -> str:
        """Return the version of the library."""
        return str(_openvino().__version__)

    def convert(self, traced: Traced, precision: str, calibrate_on: Sequence[Array]) -> bytes:
        """Convert a traced network to OpenVINO's description and weights, concatenated."""
        from bcdseg.runtimes.conversion import quantised_openvino

        model = to_openvino(traced)
        if precision == "int8":
            model = quantised_openvino(model, [array[None] for array in calibrate_on])
        return pack(model)

    def compile(self, graph: bytes, precision: str, parallel: int) -> Run:
        """Compile a graph for the CPU."""
        openvino = _openvino()
        # Pinned threads wait for other processes on their core, which cuts the speed to a third on shared machines.
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        if parallel > 1:
            options |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(parallel)}
        if limit := thread_limit():
            options["INFERENCE_NUM_THREADS"] = limit
        core = openvino.Core()
        description, weights = _unpack(graph)
        model = core.read_model(description, openvino.Tensor(np.frombuffer(weights, np.uint8)))
        compiled = core.compile_model(model, "CPU", options)
        named = {name: output for output in compiled.outputs for name in output.names}
        # Not thread-local: a forked child would destroy the requests of threads that it doesn't have.
        free: deque[Any] = deque()

        def run(batch: Array) -> RawOutput:
            try:
                request = free.pop()
            except IndexError:
                request = compiled.create_infer_request()
            outputs = request.infer([batch], share_inputs=True)
            free.append(request)
            return RawOutput(*(outputs[named[field]] if field in named else None for field in RawOutput._fields))

        never_destroy_in_children(run)
        return run


def to_openvino(traced: Traced) -> Any:
    """Convert a traced network to an OpenVINO model with named outputs."""
    model = _openvino().convert_model(traced.program)
    if not traced.program.range_constraints:  # a static shape makes the graph half again as fast
        model.reshape(list(traced.program.example_inputs[0][0].shape))
    for output, name in zip(model.outputs, traced.outputs, strict=True):
        output.get_tensor().set_names({name})
    return model


def pack(model: Any) -> bytes:
    """Return description and weights as one content."""
    description, weights = contents(model)
    return len(description).to_bytes(LENGTH, "little") + description + weights


def contents(model: Any, *, half: bool = False) -> tuple[bytes, bytes]:
    """Return description and weights, the weights optionally in 16 bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        _openvino().save_model(model, path, compress_to_fp16=half)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _unpack(graph: bytes) -> tuple[bytes, bytes]:
    end = LENGTH + int.from_bytes(graph[:LENGTH], "little")
    return graph[LENGTH:end], graph[end:]


def _openvino() -> Any:
    openvino = require("openvino", extra="openvino", purpose="The runtime openvino")
    note_threads(OpenVino.name)
    return openvino
