"""The network: encoder, decoder, mask head and class head; and ensembles of networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.errors import OptionError
from bcdseg.networks import encoders
from bcdseg.networks.config import BUILT_IN_HEADS, AnyConfig, EnsembleConfig, Member, NetworkConfig
from bcdseg.networks.encoders import LEVELS, CustomEncoder
from bcdseg.networks.fork_safety import use_own_threads
from bcdseg.networks.heads import HeadConfig
from bcdseg.registry import ENCODERS, HEADS


class Output(NamedTuple):
    """Raw output of a network; None for a head that the network lacks.

    Attributes:
        mask: Mask logits, batch x 1 x height x width.
        classes: Class logits, batch x classes.
    """

    mask: Tensor | None
    classes: Tensor | None


class Network(nn.Module):
    """Network of an encoder, a mask decoder and a classification head, built by ``build_network``."""

    def __init__(self, config: NetworkConfig, encoder: nn.Module, decoder: nn.Module | None, mask_head: nn.Module | None) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.decoder = decoder
        self.mask_head = mask_head
        self.class_head = _class_head(config, encoder, mask_head)

    @property
    def stride(self) -> int:
        """Height and width of an input must be multiples of this number."""
        # A dilated encoder has a smaller output stride, but its decoder still upsamples by the whole factor.
        return 32

    def forward(self, image: Tensor) -> Output:
        """Run a batch x channels x height x width tensor of preprocessed scans."""
        height, width = image.shape[-2:]
        if not torch.compiler.is_compiling() and (height % self.stride or width % self.stride):
            good = tuple(-(-side // self.stride) * self.stride for side in (height, width))
            raise OptionError(f"A network input of {height}x{width} does not fit: pad it to {good[0]}x{good[1]}.")
        features = self.encoder(image)
        decoded = mask = classes = None
        if self.decoder is not None and self.mask_head is not None:
            decoded = self.decoder(features)
            mask = self.mask_head(decoded)
        if self.class_head is not None:
            classes = self.class_head(features, decoded, mask)
        config = self.config
        if config.gated and mask is not None and classes is not None and config.no_lesion is not None:
            mask = gated(mask, classes, config.classes.index(config.no_lesion))
        return Output(mask, classes)


def gated(mask: Tensor, classes: Tensor, no_lesion: int) -> Tensor:
    """Return the logits of each pixel's probability times the probability of a lesion, without rounding either to 0 or 1.

    Args:
        mask: Mask logits, batch x 1 x height x width.
        classes: Class logits, batch x classes.
        no_lesion: Index of the negative class ('no lesion').
    """
    others = [index for index in range(classes.shape[1]) if index != no_lesion]
    against = classes[:, no_lesion] - torch.logsumexp(classes[:, others], dim=1)  # logit of the negative class
    log_none, log_some = (F.logsigmoid(logit)[:, None, None, None] for logit in (against, -against))
    return mask + log_some - F.softplus(mask + log_none)


def build_network(config: NetworkConfig, encoder: nn.Module | None = None) -> Network:
    """Build the network of a config with random weights. Nothing is downloaded.

    Args:
        config: Configuration of the network.
        encoder: Encoder module in place of a new one of the config's name; see ``CustomEncoder``.

    Raises:
        OptionError: The encoder is unknown, or doesn't fit the decoder; or a part of the user's own isn't as documented.
    """
    use_own_threads()
    encoders.register()
    if encoder is None and encoders.is_registered(config.encoder):
        encoder = encoders.build_registered(config.encoder, config.in_channels)
    if encoder is not None:
        encoders.check_encoder_module(encoder, config.in_channels)
    network = _assembled(config, encoder)
    if config.head is not None and config.head not in BUILT_IN_HEADS:
        _check_head(network)
    return network


def _assembled(config: NetworkConfig, encoder: nn.Module | None) -> Network:
    named = nullcontext(config.encoder) if encoder is None else encoders.known_to_smp(encoder, config.in_channels)
    try:
        with named as name:
            if config.decoder is None:
                alone = smp.encoders.get_encoder(name, in_channels=config.in_channels, weights=None)
                return Network(config, alone, None, None)
            parts = smp.create_model(
                config.decoder,
                encoder_name=name,
                encoder_weights=None,
                in_channels=config.in_channels,
                classes=1,
                **_decoder_options(config),
            )
    except (KeyError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise OptionError(_why_not(config, error, known=encoder is not None)) from error
    return Network(config, parts.encoder, parts.decoder, parts.segmentation_head)


def _decoder_options(config: NetworkConfig) -> dict[str, Any]:
    return {} if config.decoder_channels is None else {"decoder_channels": config.decoder_channels}


def _class_head(config: NetworkConfig, encoder: nn.Module, mask_head: nn.Module | None) -> nn.Module | None:
    if config.head is None:
        return None
    channels: list[int] = list(encoder.out_channels)  # type: ignore[arg-type]
    deepest = int(encoder.output_stride)  # type: ignore[arg-type]
    decoded = None if mask_head is None else next(m.in_channels for m in mask_head.modules() if isinstance(m, nn.Conv2d))
    head: nn.Module = HEADS.find(config.head)(
        HeadConfig(
            channels=tuple(channels),
            strides=tuple(min(2**level, deepest) for level in range(len(channels))),
            decoded_channels=decoded,
            classes=config.classes,
            no_lesion=config.no_lesion,
            dropout=config.dropout,
            hidden=config.hidden,
        )
    )
    return head


def _check_head(network: Network) -> None:
    """Run a network with a head of the user's own, and raise an OptionError if it doesn't return class logits."""
    head, side = network.config.head, 2 ** (LEVELS + 1)
    wanted = (1, len(network.config.classes))
    network.eval()
    try:
        with torch.no_grad():
            classes = network(torch.zeros(1, network.config.in_channels, side, side)).classes
    except Exception as error:  # the user's own code may raise anything
        raise OptionError(f"head={head!r}: fails on an image of {side}x{side} ({type(error).__name__}: {error}).") from error
    finally:
        network.train()
    if not isinstance(classes, Tensor) or tuple(classes.shape) != wanted:
        found = tuple(classes.shape) if isinstance(classes, Tensor) else type(classes).__name__
        raise OptionError(f"head={head!r}: forward returns {found} for one scan: return class logits, {wanted}.")


def check_rebuildable(network: nn.Module) -> None:
    """Raise an OptionError for a network that a saved configuration can't rebuild, because of an encoder of the user's own."""
    for part in network.modules():
        if not isinstance(part, Network) or not isinstance(part.encoder, CustomEncoder):
            continue
        name, kind = part.config.encoder, type(part.encoder.module).__name__
        if name not in ENCODERS:
            raise OptionError(
                f"encoder={kind}: isn't registered, so a saved model could not be loaded. Put @bcdseg.register('encoder', 'NAME') "
                "above its class, or above a function of in_channels that returns it, and create the model again."
            )
        with torch.random.fork_rng(devices=[]):
            again = encoders.build_registered(name, part.config.in_channels)
        if _shapes(again) != _shapes(part.encoder.module):
            raise OptionError(
                f"encoder={name!r}: the registered {kind} builds other tensors than this one has, so a saved model could not be "
                "loaded. Register a function of in_channels that returns it with the arguments that you gave."
            )


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _why_not(config: NetworkConfig, error: Exception, *, known: bool) -> str:
    if known or _is_known(config.encoder):
        return f"encoder={config.encoder!r} and decoder={config.decoder!r} do not go together: {error}"
    own = f" Registered are {', '.join(ENCODERS)}." if ENCODERS else ""
    return (
        f"encoder={config.encoder!r} is unknown ({config.encoder.removeprefix('tu-')} is neither an encoder of "
        "segmentation-models-pytorch, nor, with 'tu-' in front, of timm). Try resnet50, vgg16, vgg16_bn, mobilenet_v2, "
        f"efficientnet-b0, tu-tf_efficientnet_lite0 or plain_cnn.{own} An encoder of your own has to be registered first: import "
        "its module, or install its package."
    )


def _is_known(encoder: str) -> bool:
    if not encoder.startswith("tu-"):
        return encoder in smp.encoders.encoders
    import timm

    return bool(timm.is_model(encoder.removeprefix("tu-")))


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
        """Height and width of an input must be multiples of this number."""
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
                classes.append(calibrated(output.classes, facts.temperature, facts.class_offsets))
        together = Output(_mean_of_masks(masks) if masks else None, _mean_of_classes(classes) if classes else None)
        return together, torch.stack([one.float() for one in classes], dim=1) if len(classes) > 1 else None

    def each(self, image: Tensor) -> Iterator[tuple[Member, Network, Tensor]]:
        """Yield each member's configuration, its network, and the scans with its normalisation."""
        for facts, member in zip(self.config.members, self.members, strict=True):
            assert isinstance(member, Network)
            yield facts, member, (image - _planes(facts.mean, image)) / _planes(facts.std, image)


AnyNetwork = Network | Ensemble


def calibrated(logits: Tensor, temperature: float, offsets: tuple[float, ...]) -> Tensor:
    """Return class logits divided by a temperature, plus the offset of each class; their softmax are the probabilities."""
    scaled = logits / temperature
    return scaled + logits.new_tensor(offsets) if offsets else scaled


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
