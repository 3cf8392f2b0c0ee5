"""A network as a graph of torch.export: what the other runtimes are made from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from bcdseg.infer.answering import Answering, filled_fields
from bcdseg.network.ensemble import AnyNetwork
from bcdseg.network.folding import fold_batch_norm

IMAGE = "image"


class Traced(NamedTuple):
    """A graph from a batch of one preprocessed scan to what the fields of ``Answers`` hold, in the order of ``outputs``."""

    program: torch.export.ExportedProgram
    outputs: tuple[str, ...]


def trace(network: AnyNetwork, size: tuple[int, int], *, any_size: bool, precision: str = "fp32") -> Traced:
    """The folded network as a graph.

    Args:
        network: It stays as it is.
        size: Height and width of the graph's input.
        any_size: Whether it takes any other multiple of the network's stride as well.
        precision: What the graph itself computes in.
    """
    folded = fold_batch_norm(network, size).requires_grad_(False).cpu()
    if any_size:  # sizes of 0 and 1 would be taken for constants, and equal ones for the same
        size = (3 * folded.stride, 4 * folded.stride)
    image = torch.zeros(1, folded.config.in_channels, *size)
    sides: Any = {axis: folded.stride * torch.export.Dim(name) for axis, name in ((2, "down"), (3, "across"))}
    answering = Answering(folded, precision).eval()
    program = torch.export.export(answering, (image,), dynamic_shapes=(sides,) if any_size else None)
    return Traced(program, filled_fields(network))
