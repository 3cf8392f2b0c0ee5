"""Distributed training helpers."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn


def is_distributed() -> bool:
    """Return whether this process is one of several."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Return whether this process has rank 0, the one that writes files and prints."""
    return bool(rank_zero_only.rank == 0)


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a value over all processes. Each process must call this."""
    if not is_distributed():
        return value
    total = value.detach().clone()
    if dist.get_backend() == "nccl":  # nccl reduces CUDA tensors only
        total = total.to(torch.device("cuda", torch.cuda.current_device()))
    dist.all_reduce(total)
    return (total / dist.get_world_size()).to(value.device)


def gathered(items: list[Any]) -> list[Any]:
    """Return the items of all processes, in the order of their ranks. Each process must call this."""
    if not is_distributed():
        return items
    found: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, items)
    return [item for part in found for item in part]


def from_first(value: Any) -> Any:
    """Return the first process's value in all processes. Each process must call this."""
    if not is_distributed():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def synchronise(network: nn.Module, device: str) -> None:
    """Replace each batch norm by one that is synchronised over all processes; names and values of its tensors don't change."""
    if device == "cuda":
        convert_sync_batchnorm(network)
        return
    for name, child in list(network.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, SyncNorm(child))
        else:
            synchronise(child, device)


class SyncNorm(nn.BatchNorm2d):
    """Batch norm with the tensors of another one, whose mean and variance are computed over all processes."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)
        self.drop: nn.Module = getattr(norm, "drop", nn.Identity())  # timm's norms include what follows them
        self.act: nn.Module = getattr(norm, "act", nn.Identity())

    def forward(self, image: Tensor) -> Tensor:
        """Return the output that ``nn.BatchNorm2d`` would have for each process in a batch of the scans of all processes."""
        normed = self._shared(image) if self.training else super().forward(image)
        return self.act(self.drop(normed))  # type: ignore[no-any-return]

    def _shared(self, image: Tensor) -> Tensor:
        values = image.to(torch.promote_types(image.dtype, torch.float32))
        # Double precision, because the variance is a small difference of large numbers.
        sums = [term.sum(dim=(0, 2, 3), dtype=torch.float64) for term in (values, values.square())]
        count = sums[0].new_tensor([values.numel() / values.shape[1]])
        total: Tensor = _Sum.apply(torch.cat([*sums, count]))
        mean, square = (total[:-1] / total[-1]).chunk(2)
        variance = (square - mean.square()).clamp_min(0)
        self._remember(mean.detach(), variance.detach(), total[-1].detach())
        scale = (variance + self.eps).rsqrt()
        shift = (-mean * scale).to(values.dtype)
        scale = scale.to(values.dtype)
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return (values * scale[:, None, None] + shift[:, None, None]).to(image.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = float(self.num_batches_tracked) ** -1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)


class _Sum(torch.autograd.Function):
    """Differentiable sum over all processes; its gradient is summed too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(gradient)


def _summed(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
