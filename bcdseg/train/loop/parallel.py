"""Several processes that train as one."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor


def several() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return bool(rank_zero_only.rank == 0)


def mean_over_processes(value: Tensor) -> Tensor:
    """What all processes have on average. Each must ask."""
    if not several():
        return value
    total = value.detach().clone()
    if dist.get_backend() == "nccl":  # which takes nothing else
        total = total.to(torch.device("cuda", torch.cuda.current_device()))
    dist.all_reduce(total)
    return (total / dist.get_world_size()).to(value.device)


def gathered(items: list[Any]) -> list[Any]:
    """The items of all processes, in the order of their ranks. Each must ask."""
    if not several():
        return items
    found: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, items)
    return [item for part in found for item in part]


def from_first(value: Any) -> Any:
    """What the first process has. Each must ask."""
    if not several():
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]
