"""The torch.compile runtime."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bcdseg.networks.fork_safety import use_own_threads
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.conversion import Traced
from bcdseg.runtimes.graph import Run

SETTINGS: dict[str, Any] = {
    "freezing": True,  # weights become constants in the layout of the kernels
    "cpp.dynamic_threads": True,  # a forked process has one thread, and would wait forever for more
}


class Compiled:
    """Engine that compiles with torch.compile (AOTInductor).

    The layout of the weights depends on the number of threads; with another number the same code is up to ten times slower. One
    worker therefore runs all scans one by one with a fixed number. Parallel scans wouldn't be faster, as torch keeps the GIL.
    """

    name = "compile"
    precision_is_traced = True

    def version(self) -> str:
        """Return the versions of torch and CPU, as code compiled for one CPU may not run on another."""
        capabilities = getattr(torch.cpu, "get_capabilities", torch.backends.cpu.get_cpu_capability)()
        return f"{torch.__version__} {capabilities} {torch.get_num_threads()}"

    def convert(self, traced: Traced, precision: str, calibrate_on: Sequence[Array]) -> bytes:  # noqa: ARG002 - set in the trace
        """Compile a traced network to machine code, in a torch package."""
        from torch._inductor import aoti_compile_and_package

        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder) / "network.pt2"
            aoti_compile_and_package(traced.program, package_path=str(path), inductor_configs=SETTINGS)
            facts = json.dumps({"outputs": traced.outputs, "threads": torch.get_num_threads()}).encode()
            return len(facts).to_bytes(1, "little") + facts + path.read_bytes()

    def compile(self, graph: bytes, precision: str, parallel: int) -> Run:  # noqa: ARG002 - see above
        """Load a package for inference."""
        from torch._inductor import aoti_load_package

        start = 1 + graph[0]
        facts = json.loads(graph[1:start])
        network = aoti_load_package(io.BytesIO(graph[start:]))
        process, worker = os.getpid(), ThreadPoolExecutor(1, "bcdseg-compiled", partial(torch.set_num_threads, facts["threads"]))

        def run(batch: Array) -> RawOutput:
            scan = torch.from_numpy(batch)
            if process == os.getpid():
                parts = worker.submit(network, scan).result()
            else:  # a fork doesn't copy the worker thread
                use_own_threads()
                parts = network(scan)
            outputs = dict(zip(facts["outputs"], parts, strict=True))
            return RawOutput(*(outputs[field].numpy() if field in outputs else None for field in RawOutput._fields))

        return run
