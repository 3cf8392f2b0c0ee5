"""A network with its answers as plain tensors: what is run by torch, and what other runtimes are made from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdseg.infer.answers import Answers
from bcdseg.network.ensemble import AnyNetwork, EnsembleConfig, with_members

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Answering(nn.Module):
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
    return tuple(name for name in Answers._fields if filled[name])
