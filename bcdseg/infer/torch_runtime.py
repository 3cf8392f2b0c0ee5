"""The network on torch, made ready for inference: folded, channels-last, without gradients."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

from bcdseg.errors import OptionError
from bcdseg.infer.answering import Answering, filled_fields
from bcdseg.infer.answers import Answers, Array
from bcdseg.infer.heatmap import class_heat
from bcdseg.infer.one_core import closing, leave_parents, threads_of_one_core
from bcdseg.infer.recorded import Ask, Recorded
from bcdseg.infer.transfer import Transfer
from bcdseg.network.ensemble import AnyNetwork
from bcdseg.network.folding import fold_batch_norm

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
        self.answering = Answering(folded, precision)
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
            with threads_of_one_core(self.workers) as pool:
                yield pool
            return
        with closing(ThreadPoolExecutor(self.workers, "bcdseg")) as pool:
            yield pool

    def __call__(self, batch: Sequence[Array]) -> Answers:
        """Run a batch of preprocessed scans of one size."""
        leave_parents()
        with torch.inference_mode(), self._transfer.lane():
            inputs = self._transfer.there(np.stack(batch) if len(batch) > 1 else batch[0][None])
            found = dict(zip(self._fields, self._transfer.back(self._ask(inputs)), strict=True))
        return Answers(*(found.get(field) for field in Answers._fields))

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
