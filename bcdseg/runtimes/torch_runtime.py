"""The torch runtime: folded batch norms, channels-last memory, asynchronous copies and CUDA graphs.

On CUDA each thread has its own stream and copies through pinned memory, so that one batch is copied while another is computed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bcdseg.networks.config import EnsembleConfig
from bcdseg.networks.folding import fold_batch_norm
from bcdseg.networks.fork_safety import use_own_threads
from bcdseg.networks.network import AnyNetwork, Ensemble
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.cpu_threads import closing, stream_threads
from bcdseg.runtimes.gradcam import grad_cam

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class InferenceModule(nn.Module):
    """Module from a batch of preprocessed scans to the fields of ``RawOutput`` that ``filled_fields`` returns, in 32 bits.

    Args:
        network: Network in evaluation mode; it is converted to the precision in place.
        precision: Precision of the computations.
    """

    def __init__(self, network: AnyNetwork, precision: str = "fp32") -> None:
        super().__init__()
        self.dtype = DTYPES[precision]
        self.network = network.to(self.dtype)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the raw output of a batch in 32 bits."""
        network, inputs = self.network, image.to(self.dtype)
        output, members = network.with_members(inputs) if isinstance(network, Ensemble) else (network(inputs), None)
        mask = None if output.mask is None else torch.sigmoid(output.mask[:, 0].float())
        return tuple(part.float() for part in (mask, output.classes, members) if part is not None)


def filled_fields(network: AnyNetwork) -> tuple[str, ...]:
    """Return the fields of ``RawOutput`` that a network fills."""
    config = network.config
    classifiers = sum(member.network.head is not None for member in config.members) if isinstance(config, EnsembleConfig) else 1
    filled = {"mask": config.decoder is not None, "classes": config.head is not None, "members": classifiers > 1}
    return tuple(name for name in RawOutput._fields if filled[name])


class DeviceCopies:
    """Copies to and from a device, thread-safe."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._thread = device, threading.local()

    def stream(self) -> AbstractContextManager[object]:
        """Return the CUDA stream of the calling thread as a context, so that its work doesn't wait for other threads."""
        if self.device.type != "cuda":
            return nullcontext()
        if not hasattr(self._thread, "stream"):
            self._thread.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            self._thread.stream.wait_stream(torch.cuda.default_stream(self.device))  # which has copied the weights
        return torch.cuda.stream(self._thread.stream)

    def to_device(self, batch: Array) -> Tensor:
        """Copy a batch to the device."""
        tensor = torch.from_numpy(batch)
        if self.device.type != "cuda":
            return tensor.to(self.device, memory_format=torch.channels_last)
        return tensor.pin_memory().to(self.device, non_blocking=True, memory_format=torch.channels_last)

    def to_arrays(self, parts: tuple[Tensor, ...]) -> list[Array]:
        """Copy tensors from the device to arrays, and wait for them."""
        if self.device.type != "cuda":
            return [np.asarray(part.cpu()) for part in parts]
        copies = [torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True) for part in parts]
        torch.cuda.current_stream(self.device).synchronize()
        return [copy.numpy() for copy in copies]


Forward = Callable[[Tensor], tuple[Tensor, ...]]
WARM_UP = 3  # runs before a capture, in which libraries choose their algorithms


@dataclass(frozen=True)
class _CapturedGraph:
    graph: torch.cuda.CUDAGraph
    image: Tensor
    outputs: tuple[Tensor, ...]


class CudaGraphs:
    """Function as CUDA graphs, one per input shape; thread-safe, as a stream of its own serializes the batches."""

    def __init__(self, forward: Forward, device: torch.device) -> None:
        self._forward, self._stream = forward, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._captured: dict[torch.Size, _CapturedGraph] = {}

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run a batch; the first one of its shape is captured as a CUDA graph."""
        callers = torch.cuda.current_stream(image.device)
        with self._lock, torch.cuda.stream(self._stream):
            self._stream.wait_stream(callers)
            captured = self._captured.get(image.shape)
            if captured is None:
                captured = self._captured[image.shape] = self._capture(image)
            captured.image.copy_(image)
            image.record_stream(self._stream)
            captured.graph.replay()
            outputs = tuple(part.clone() for part in captured.outputs)  # the next replay overwrites them
            callers.wait_stream(self._stream)
        for part in outputs:
            part.record_stream(callers)
        return outputs

    def _capture(self, image: Tensor) -> _CapturedGraph:
        static = image.clone(memory_format=torch.channels_last)
        for _ in range(WARM_UP):
            self._forward(static)
        torch.cuda.synchronize(image.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            outputs = self._forward(static)
        return _CapturedGraph(graph, static, outputs)


class _ThreadCount:
    """Torch's number of threads, restored after streams that may overlap: a worker's setting also applies to later threads."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset the count of streams."""
        self.lock, self.streams, self.threads, self.process = threading.Lock(), 0, 0, os.getpid()

    def __enter__(self) -> None:
        with self.lock:
            self.threads = self.threads if self.streams else torch.get_num_threads()
            self.streams += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.streams -= 1
            if not self.streams:
                torch.set_num_threads(self.threads)


_thread_count = _ThreadCount()


def _use_one_core() -> None:
    """Use one torch thread in each thread of a stream."""
    torch.set_num_threads(1)


def _reset_after_fork() -> None:
    """Reset the state of streams and threads in a forked process, as a fork doesn't copy threads."""
    if _thread_count.process != os.getpid():
        use_own_threads()
        _thread_count.reset()


MOST_WORKERS, GPU_WORKERS = 8, 4


class TorchRuntime:
    """Frozen copy of a network on one device; thread-safe, and on a CPU usable in a forked process.

    Args:
        network: Network to copy; it is not changed.
        device: Device of the copy.
        size: Height and width of a valid input.
        precision: Precision of the computations.
        compiled: Whether to use torch.compile and CUDA graphs, on CUDA.
    """

    def __init__(
        self, network: AnyNetwork, device: str, size: tuple[int, int], precision: str = "fp32", *, compiled: bool = False
    ) -> None:
        use_own_threads()  # this module may have been imported after a fork
        _reset_after_fork()
        self.device = torch.device(device)
        folded = fold_batch_norm(network, size).requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.module = InferenceModule(folded, precision)
        self._fields = filled_fields(network)
        self._copies = DeviceCopies(self.device)
        self._forward: Forward = CudaGraphs(torch.compile(self.module), self.device) if compiled else self.module

    has_lost_threads = False  # in a forked process it uses the one thread that there is

    @property
    def workers(self) -> int:
        """Number of threads: torch's on a CPU, enough to decode while a GPU computes; up to a maximum."""
        if self.device.type == "cpu":
            return min(MOST_WORKERS, torch.get_num_threads())
        return min(MOST_WORKERS, max(GPU_WORKERS, os.cpu_count() or 1))

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Provide threads for a stream; on a CPU each uses one core, as parallel scans are faster than one scan on all cores."""
        if self.device.type == "cpu":
            _reset_after_fork()
            with _thread_count, stream_threads(self.workers, _use_one_core) as pool:
                yield pool
            return
        with closing(ThreadPoolExecutor(self.workers, "bcdseg")) as pool:
            yield pool

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Run a batch of preprocessed scans of one size."""
        _reset_after_fork()
        with torch.inference_mode(), self._copies.stream():
            inputs = self._copies.to_device(np.stack(batch) if len(batch) > 1 else batch[0][None])
            outputs = dict(zip(self._fields, self._copies.to_arrays(self._forward(inputs)), strict=True))
        return RawOutput(*(outputs.get(field) for field in RawOutput._fields))

    def heatmap(self, scan: Array, class_index: int) -> Array:
        """Compute the heat map of a class for one preprocessed scan; see ``grad_cam``."""
        _reset_after_fork()
        with self._copies.stream():
            image = self._copies.to_device(scan[None]).to(self.module.dtype)
            return grad_cam(self.module.network, image, class_index)
