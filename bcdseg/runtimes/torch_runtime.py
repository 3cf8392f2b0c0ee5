"""The torch runtime: folded, channels-last, with CUDA copies and CUDA graphs.

On CUDA each thread has a stream of its own and copies by way of pinned memory: one batch travels while another is computed.
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
    """From a batch of preprocessed scans to the fields of ``Answers`` that ``filled_fields`` tells, in 32 bits.

    Args:
        network: Made ready; it is changed to the precision.
        precision: What it computes in.
    """

    def __init__(self, network: AnyNetwork, precision: str = "fp32") -> None:
        super().__init__()
        self.dtype = DTYPES[precision]
        self.network = network.to(self.dtype)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Answer for a batch in 32 bits."""
        output, members = with_members(self.network, image.to(self.dtype))
        mask = None if output.mask is None else torch.sigmoid(output.mask[:, 0].float())
        return tuple(part.float() for part in (mask, output.classes, members) if part is not None)


def filled_fields(network: AnyNetwork) -> tuple[str, ...]:
    """The fields of ``Answers`` that a network fills."""
    config = network.config
    voices = sum(member.network.head is not None for member in config.members) if isinstance(config, EnsembleConfig) else 1
    filled = {"mask": config.decoder is not None, "classes": config.head is not None, "members": voices > 1}
    return tuple(name for name in RawOutput._fields if filled[name])


class Transfer:
    """The way to a device. Safe to use from several threads."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._own = device, threading.local()

    @contextmanager
    def lane(self) -> Iterator[None]:
        """Where the calling thread's copies and computations wait for each other alone."""
        if self.device.type != "cuda":
            yield
            return
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            self._own.stream.wait_stream(torch.cuda.default_stream(self.device))  # the weights came by that one
        with torch.cuda.stream(self._own.stream):
            yield

    def there(self, batch: Array) -> Tensor:
        """A batch on the device."""
        tensor = torch.from_numpy(batch)
        if self.device.type != "cuda":
            return tensor.to(self.device, memory_format=torch.channels_last)
        return tensor.pin_memory().to(self.device, non_blocking=True, memory_format=torch.channels_last)

    def back(self, parts: tuple[Tensor, ...]) -> list[Array]:
        """Results as arrays; waits for them."""
        if self.device.type != "cuda":
            return [np.asarray(part.cpu()) for part in parts]
        landed = [torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True) for part in parts]
        torch.cuda.current_stream(self.device).synchronize()
        return [part.numpy() for part in landed]


Ask = Callable[[Tensor], tuple[Tensor, ...]]
WARM_UP = 3  # runs before a recording, in which libraries choose their ways


@dataclass(frozen=True)
class _Record:
    graph: torch.cuda.CUDAGraph
    image: Tensor
    answers: tuple[Tensor, ...]


class Recorded:
    """Called as what it records. Safe to call from several threads: a stream of its own keeps their batches apart."""

    def __init__(self, ask: Ask, device: torch.device) -> None:
        self._ask, self._stream = ask, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._records: dict[torch.Size, _Record] = {}

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Answer for a batch; the first of its shape is recorded."""
        mine = torch.cuda.current_stream(image.device)
        with self._lock, torch.cuda.stream(self._stream):
            self._stream.wait_stream(mine)
            record = self._records.get(image.shape)
            if record is None:
                record = self._records[image.shape] = self._recorded(image)
            record.image.copy_(image)
            image.record_stream(self._stream)
            record.graph.replay()
            answers = tuple(part.clone() for part in record.answers)  # the next replay writes over them
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
    """A frozen copy of a network on one device. Safe to call from several threads, and in a forked process on a CPU.

    Args:
        network: It stays as it is.
        device: Where it runs.
        size: Height and width of an input that it takes.
        precision: What it computes in.
        compiled: Whether, on CUDA, torch compiles it and its work is recorded.
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
        """On a CPU as many as torch has threads; on a GPU enough to decode while it computes."""
        if self.device.type == "cpu":
            return min(MOST_WORKERS, torch.get_num_threads())
        return min(MOST_WORKERS, max(GPU_WORKERS, os.cpu_count() or 1))

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Threads for a stream. On a CPU each computes alone: many scans side by side are faster than one on all cores."""
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
        """Where the score of a class came from, over one preprocessed scan (see ``class_heat``)."""
        leave_parents()
        with self._transfer.lane():
            image = self._transfer.there(scan[None]).to(self.answering.dtype)
            return class_heat(self.answering.network, image, class_index)


def choose_device(name: str) -> str:
    """The device of a name; ``auto`` is CUDA, else Apple's MPS, else the CPU."""
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
