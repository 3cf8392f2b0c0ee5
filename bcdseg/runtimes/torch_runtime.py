"""The torch runtime: folded batch norms, channels-last memory, asynchronous copies and CUDA graphs.

On CUDA each thread has its own stream and copies through pinned memory, so that one batch is copied while another is computed.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bcdseg.errors import OptionError
from bcdseg.networks.ensemble import AnyNetwork, EnsembleConfig, with_members
from bcdseg.networks.folding import fold_batch_norm
from bcdseg.runtimes.base import Array, RawOutput
from bcdseg.runtimes.cpu_threads import closing, leave_parents, single_core_threads
from bcdseg.runtimes.gradcam import class_heat

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
        output, members = with_members(self.network, image.to(self.dtype))
        mask = None if output.mask is None else torch.sigmoid(output.mask[:, 0].float())
        return tuple(part.float() for part in (mask, output.classes, members) if part is not None)


def filled_fields(network: AnyNetwork) -> tuple[str, ...]:
    """Return the fields of ``RawOutput`` that a network fills."""
    config = network.config
    voices = sum(member.network.head is not None for member in config.members) if isinstance(config, EnsembleConfig) else 1
    filled = {"mask": config.decoder is not None, "classes": config.head is not None, "members": voices > 1}
    return tuple(name for name in RawOutput._fields if filled[name])


class Transfer:
    """Copies to and from a device, thread-safe."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._own = device, threading.local()

    @contextmanager
    def lane(self) -> Iterator[None]:
        """Enter the CUDA stream of the calling thread, so that its work doesn't wait for other threads."""
        if self.device.type != "cuda":
            yield
            return
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            self._own.stream.wait_stream(torch.cuda.default_stream(self.device))  # the weights were copied on the default stream
        with torch.cuda.stream(self._own.stream):
            yield

    def there(self, batch: Array) -> Tensor:
        """Copy a batch to the device."""
        tensor = torch.from_numpy(batch)
        if self.device.type != "cuda":
            return tensor.to(self.device, memory_format=torch.channels_last)
        return tensor.pin_memory().to(self.device, non_blocking=True, memory_format=torch.channels_last)

    def back(self, parts: tuple[Tensor, ...]) -> list[Array]:
        """Copy tensors from the device to arrays, and wait for them."""
        if self.device.type != "cuda":
            return [np.asarray(part.cpu()) for part in parts]
        landed = [torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True) for part in parts]
        torch.cuda.current_stream(self.device).synchronize()
        return [part.numpy() for part in landed]


Ask = Callable[[Tensor], tuple[Tensor, ...]]
WARM_UP = 3  # runs before a capture, in which libraries choose their algorithms


@dataclass(frozen=True)
class _Record:
    graph: torch.cuda.CUDAGraph
    image: Tensor
    answers: tuple[Tensor, ...]


class Recorded:
    """Function as CUDA graphs, one per input shape; thread-safe, as a stream of its own serializes the batches."""

    def __init__(self, ask: Ask, device: torch.device) -> None:
        self._ask, self._stream = ask, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._records: dict[torch.Size, _Record] = {}

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run a batch; the first one of its shape is captured as a CUDA graph."""
        mine = torch.cuda.current_stream(image.device)
        with self._lock, torch.cuda.stream(self._stream):
            self._stream.wait_stream(mine)
            record = self._records.get(image.shape)
            if record is None:
                record = self._records[image.shape] = self._recorded(image)
            record.image.copy_(image)
            image.record_stream(self._stream)
            record.graph.replay()
            answers = tuple(part.clone() for part in record.answers)  # the next replay overwrites them
            mine.wait_stream(self._stream)
        for part in answers:
            part.record_stream(mine)
        return answers

    def _recorded(self, image: Tensor) -> _Record:
        still = image.clone(memory_format=torch.channels_last)
        for _ in range(WARM_UP):
            self._ask(still)
        torch.cuda.synchronize(image.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            answers = self._ask(still)
        return _Record(graph, still, answers)


MOST_WORKERS, GPU_WORKERS = 8, 4
DEVICES = ("auto", "cpu", "cuda", "mps")


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
        leave_parents()
        self.device = torch.device(device)
        folded = fold_batch_norm(network, size).requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.answering = InferenceModule(folded, precision)
        self._fields = filled_fields(network)
        self._transfer = Transfer(self.device)
        self._ask: Ask = Recorded(torch.compile(self.answering), self.device) if compiled else self.answering

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
            with single_core_threads(self.workers) as pool:
                yield pool
            return
        with closing(ThreadPoolExecutor(self.workers, "bcdseg")) as pool:
            yield pool

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Run a batch of preprocessed scans of one size."""
        leave_parents()
        with torch.inference_mode(), self._transfer.lane():
            inputs = self._transfer.there(np.stack(batch) if len(batch) > 1 else batch[0][None])
            found = dict(zip(self._fields, self._transfer.back(self._ask(inputs)), strict=True))
        return RawOutput(*(found.get(field) for field in RawOutput._fields))

    def heat(self, scan: Array, class_index: int) -> Array:
        """Compute the heat map of a class for one preprocessed scan; see ``class_heat``."""
        leave_parents()
        with self._transfer.lane():
            image = self._transfer.there(scan[None]).to(self.answering.dtype)
            return class_heat(self.answering.network, image, class_index)


def choose_device(name: str) -> str:
    """Return the device with a name; ``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        OptionError: The name is unknown, or the device is not available.
    """
    name = str(name)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise OptionError(f"device={name!r} is unknown: choose one of {', '.join(DEVICES)}.")
    has: dict[str, Callable[[], bool]] = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if name == "auto":
        return next((kind for kind, available in has.items() if available()), "cpu")
    kind = name.partition(":")[0]
    if kind in has and not has[kind]():
        raise OptionError(f"device={name!r}: this machine has none that PyTorch can use. Choose cpu or auto.")
    return name
