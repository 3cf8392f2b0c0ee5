"""Scans to a device, and answers back.

On CUDA each thread has a stream of its own and copies by way of pinned memory: one batch travels while another is computed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from bcdseg.infer.answers import Array


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
