"""Ensembles of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.errors import OptionError
from bcdseg.networks.config import NetworkConfig, check_temperature
from bcdseg.networks.network import Network, Output, build_network

MOST_MEMBERS = 100


@dataclass(frozen=True, kw_only=True)
class Member:
    """Configuration of one network of an ensemble, with its normalisation and temperature.

    Attributes:
        network: Configuration of the network.
        mean: Mean of each channel, which is subtracted from intensities of 0 to 1.
        std: Standard deviation of each channel, by which the difference is divided.
        temperature: Divisor of the member's class logits before the softmax.
    """

    network: NetworkConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        channels = self.network.in_channels
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if not len(self.mean) == len(self.std) == channels or not finite or min(self.std) <= 0:
            raise OptionError(
                f"mean={self.mean!r}, std={self.std!r} of a member with {channels} channel(s): give as many finite numbers, "
                "each of std above 0."
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Member:
        """Build the configuration from its ``dataclasses.asdict``, also after a round trip through JSON."""
        network = NetworkConfig.from_dict(values["network"])
        return cls(**{**values, "network": network, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Configuration from which an ensemble is built.

    Attributes:
        members: Two or more members with the same classes, negative class and channels.
    """

    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise OptionError(f"An ensemble of {len(self.members)} has nothing to average: give two models or more.")
        if len(self.members) > MOST_MEMBERS:
            raise OptionError(f"An ensemble of {len(self.members)} members is not possible: give {MOST_MEMBERS} at most.")
        for facts in ("classes", "no_lesion", "in_channels"):
            if len({getattr(member.network, facts) for member in self.members}) > 1:
                each = "; ".join(repr(getattr(member.network, facts)) for member in self.members)
                raise OptionError(f"The members of an ensemble must have the same {facts}, not {each}.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EnsembleConfig:
        """Build the configuration from its ``dataclasses.asdict``, also after a round trip through JSON."""
        return cls(members=tuple(Member.from_dict(member) for member in values["members"]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.members[0].network.classes

    @property
    def no_lesion(self) -> str | None:
        """Negative class ('no lesion'), or None."""
        return self.members[0].network.no_lesion

    @property
    def in_channels(self) -> int:
        """Number of channels: 1 for gray scans, 3 for colour."""
        return self.members[0].network.in_channels

    @property
    def encoder(self) -> str:
        """Encoders of the members, without duplicates."""
        return self._kinds(lambda network: network.encoder) or ""

    @property
    def decoder(self) -> str | None:
        """Decoders of the members, without duplicates; None when no member has one."""
        return self._kinds(lambda network: network.decoder)

    @property
    def head(self) -> str | None:
        """Classification heads of the members, without duplicates; None when no member has one."""
        return self._kinds(lambda network: network.head)

    @property
    def summary(self) -> str:
        """Short description of the members."""
        kinds = dict.fromkeys(member.network.summary for member in self.members)
        return f"{len(self.members)} members ({'; '.join(kinds)})"

    def _kinds(self, of: Callable[[NetworkConfig], str | None]) -> str | None:
        return ", ".join(dict.fromkeys(kind for member in self.members if (kind := of(member.network)))) or None


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


def build_ensemble(config: EnsembleConfig) -> Ensemble:
    """Build the ensemble of a config with random weights. Nothing is downloaded."""
    return Ensemble(config, [build_network(member.network) for member in config.members])


def rebuild(values: dict[str, Any]) -> AnyNetwork:
    """Build a network or an ensemble from the ``dataclasses.asdict`` of its config, also after a round trip through JSON."""
    if "members" in values:
        return build_ensemble(EnsembleConfig.from_dict(values))
    return build_network(NetworkConfig.from_dict(values))


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
