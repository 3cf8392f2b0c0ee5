"""A network's work on CUDA, recorded once for each shape of batch and then replayed: no time goes into launching kernels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

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
