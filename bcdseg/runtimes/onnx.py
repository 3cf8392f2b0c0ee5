"""The ONNX Runtime engine (extra ``onnx``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bcdseg.extras import require
from bcdseg.networks.fork_safety import never_destroy_in_children, note_threads
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.graph import Run, thread_limit

if TYPE_CHECKING:
    import torch

    from bcdseg.runtimes.conversion import Traced

IMAGE = "image"
OPSET = 20
ERRORS_ONLY = 3


class OnnxRuntime:
    """Engine that runs graphs with ONNX Runtime."""

    name = "onnxruntime"
    precision_is_traced = False

    def version(self) -> str:
        """Return the version of the library."""
        return str(_onnxruntime().__version__)

    def convert(self, traced: Traced, precision: str, calibrate_on: Sequence[Array]) -> bytes:
        """Convert a traced network to the content of an ONNX file."""
        from bcdseg.runtimes.conversion import quantised_onnx

        proto = to_onnx(traced.program, (IMAGE,), traced.outputs)
        if precision == "int8":
            proto = quantised_onnx(proto, [{IMAGE: array[None]} for array in calibrate_on])
        return bytes(proto.SerializeToString())

    def compile(self, graph: bytes, precision: str, parallel: int) -> Run:  # noqa: ARG002 - the graph has the precision
        """Load a graph into a session."""
        session = session_of(graph, threads=1 if parallel > 1 else thread_limit() or 0)
        names = [output.name for output in session.get_outputs()]

        def run(batch: Array) -> RawOutput:
            outputs = dict(zip(names, session.run(names, {IMAGE: batch}), strict=True))
            return RawOutput(*(outputs.get(field) for field in RawOutput._fields))

        never_destroy_in_children(run)
        return run


def session_of(graph: bytes | str, *, threads: int = 0) -> Any:
    """Return a session on the CPU; 0 threads means one per core."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def to_onnx(program: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Convert a torch.export program to an ONNX model."""
    import torch

    require("onnx", extra="onnx", purpose="ONNX")
    require("onnxscript", extra="onnx", purpose="ONNX")
    converted = torch.onnx.export(
        program, dynamo=True, input_names=list(inputs), output_names=list(outputs), opset_version=OPSET, verbose=False
    )
    assert converted is not None
    return converted.model_proto


def _onnxruntime() -> Any:
    onnxruntime = require("onnxruntime", extra="onnx", purpose="The runtime onnxruntime")
    note_threads(OnnxRuntime.name)
    return onnxruntime
