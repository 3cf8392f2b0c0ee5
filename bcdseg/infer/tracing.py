"""A network as a graph of torch.export: what the other runtimes are made from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bcdseg.infer.answers import Answers
from bcdseg.network.ensemble import AnyNetwork, EnsembleConfig, with_members
from bcdseg.network.folding import fold_batch_norm

IMAGE = "image"


class Traced(NamedTuple):
    """A graph from a batch of one preprocessed scan to what the fields of ``Answers`` hold, in the order of ``outputs``."""

    program: torch.export.ExportedProgram
    outputs: tuple[str, ...]


class _Answering(nn.Module):
    def __init__(self, network: AnyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output, members = with_members(self.network, image)
        mask = None if output.mask is None else torch.sigmoid(output.mask[:, 0])
        return tuple(part for part in (mask, output.classes, members) if part is not None)


def trace(network: AnyNetwork, size: tuple[int, int], *, any_size: bool) -> Traced:
    """The folded network as a graph.

    Args:
        network: It stays as it is.
        size: Height and width of the graph's input.
        any_size: Whether it takes any other multiple of the network's stride as well.
    """
    folded = fold_batch_norm(network, size).requires_grad_(False).cpu()
    if any_size:  # sizes of 0 and 1 would be taken for constants, and equal ones for the same
        size = (3 * folded.stride, 4 * folded.stride)
    image = torch.zeros(1, folded.config.in_channels, *size)
    sides: Any = {axis: folded.stride * torch.export.Dim(name) for axis, name in ((2, "down"), (3, "across"))}
    program = torch.export.export(_Answering(folded).eval(), (image,), dynamic_shapes=(sides,) if any_size else None)
    return Traced(program, output_names(network))


def output_names(network: AnyNetwork) -> tuple[str, ...]:
    """The fields of ``Answers`` that a network fills."""
    config = network.config
    voices = sum(member.network.head is not None for member in config.members) if isinstance(config, EnsembleConfig) else 1
    filled = {"mask": config.decoder is not None, "classes": config.head is not None, "members": voices > 1}
    return tuple(name for name in Answers._fields if filled[name])
