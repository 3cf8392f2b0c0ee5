"""The network compiled for this machine by torch's own compiler: it needs a C++ compiler, and no other package."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bcdseg.infer.answers import Answers, Array
from bcdseg.infer.graph_runtime import Run
from bcdseg.infer.tracing import Traced
from bcdseg.network.forked import use_own_threads

SETTINGS: dict[str, Any] = {
    "freezing": True,  # weights are constants, laid out as the kernels want them
    "cpp.dynamic_threads": True,  # as many threads as the calling one has, which in a stream is one
}


class Compiled:
    """See ``Engine``."""

    name = "compile"
    precision_is_traced = True

    def version(self) -> str:
        """Of torch, and of the machine: what is compiled for one processor may not run on another."""
        told = getattr(torch.cpu, "get_capabilities", torch.backends.cpu.get_cpu_capability)()
        return f"{torch.__version__} {told}"

    def convert(self, traced: Traced, precision: str, calibrate_on: Sequence[Array]) -> bytes:  # noqa: ARG002 - it is traced
        """A traced network as machine code, in a package of torch's."""
        from torch._inductor import aoti_compile_and_package

        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder) / "network.pt2"
            aoti_compile_and_package(traced.program, package_path=str(path), inductor_configs=SETTINGS)
            names = json.dumps(traced.outputs).encode()
            return len(names).to_bytes(1, "little") + names + path.read_bytes()

    def compiled(self, graph: bytes, precision: str, side_by_side: int) -> Run:  # noqa: ARG002 - it is in the graph
        """A package made ready."""
        from torch._inductor import aoti_load_package

        begin = 1 + graph[0]
        names = json.loads(graph[1:begin])
        network = aoti_load_package(io.BytesIO(graph[begin:]), num_runners=side_by_side)

        def run(batch: Array) -> Answers:
            use_own_threads()
            found = dict(zip(names, network(torch.from_numpy(batch)), strict=True))
            return Answers(*(found[field].numpy() if field in found else None for field in Answers._fields))

        return run
