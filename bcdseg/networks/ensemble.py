"""Ensembles of networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.networks.config import AnyConfig, EnsembleConfig, Member
from bcdseg.networks.network import Network, Output, build_network


class Ensemble(nn.Module):
    """Ensemble that averages the probabilities of its members, separately for masks and classes.

    A member without a decoder or without a classification head is left out of that average. The input has intensities of 0 to 1,
    which each member normalises itself. The averages are converted back to logits, so that the output has the same meaning as that
    of a single network.
    """

    def __init__(self, config: EnsembleConfig, members: Sequence[Network]) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(members)

    @property
    def stride(self) -> int:
        """Number of which height and width of an input must be multiples."""
        return max(int(member.stride) for member in self.members)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Output:
        """Run a batch x channels x height x width tensor of scans with intensities of 0 to 1."""
        return self.with_members(image)[0]

    def with_members(self, image: Tensor) -> tuple[Output, Tensor | None]:
        """Return the joint output, and the class logits of each member, batch x members x classes; None with fewer than two."""
        masks, classes = [], []
        for facts, member, normalised in self.each(image):
            output = member(normalised)
            if output.mask is not None:
                masks.append(output.mask)
            if output.classes is not None:
                classes.append(output.classes / facts.temperature)
        together = Output(_mean_of_masks(masks) if masks else None, _mean_of_classes(classes) if classes else None)
        return together, torch.stack([one.float() for one in classes], dim=1) if len(classes) > 1 else None

    def each(self, image: Tensor) -> Iterator[tuple[Member, Network, Tensor]]:
        """Yield each member's configuration, its network, and the scans with its normalisation."""
        for facts, member in zip(self.config.members, self.members, strict=True):
            assert isinstance(member, Network)
            yield facts, member, (image - _planes(facts.mean, image)) / _planes(facts.std, image)


AnyNetwork = Network | Ensemble


def with_members(network: AnyNetwork, image: Tensor) -> tuple[Output, Tensor | None]:
    """Return the output of a network, and for an ensemble also the class logits of each member."""
    return network.with_members(image) if isinstance(network, Ensemble) else (network(image), None)


def build(config: AnyConfig) -> AnyNetwork:
    """Build the network or the ensemble of a config with random weights. Nothing is downloaded."""
    if isinstance(config, EnsembleConfig):
        return Ensemble(config, [build_network(member.network) for member in config.members])
    return build_network(config)


def _planes(values: tuple[float, ...], image: Tensor) -> Tensor:
    return torch.tensor(values, dtype=image.dtype, device=image.device)[:, None, None]


def _mean_of_masks(logits: Sequence[Tensor]) -> Tensor:
    """Return the logits of the mean probabilities, computed with logarithms so that confident members don't overflow."""
    every = torch.stack([one.float() for one in logits])
    return _log_mean(F.logsigmoid(every)) - _log_mean(F.logsigmoid(-every))


def _mean_of_classes(logits: Sequence[Tensor]) -> Tensor:
    """Return the logarithms of the mean probabilities, whose softmax is the mean probabilities."""
    return _log_mean(torch.stack([one.float() for one in logits]).log_softmax(dim=-1))


def _log_mean(logarithms: Tensor) -> Tensor:
    return torch.logsumexp(logarithms, dim=0) - math.log(len(logarithms))


def parameter_count(network: AnyNetwork) -> int:
    """Return the number of parameters of a network."""
    return sum(int(np.prod(parameter.shape)) for parameter in network.parameters())
