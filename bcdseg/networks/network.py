"""The network: encoder, decoder, mask head and class head."""

from __future__ import annotations

from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.errors import OptionError
from bcdseg.networks import encoders
from bcdseg.networks.config import NetworkConfig
from bcdseg.networks.fork_safety import use_own_threads
from bcdseg.networks.heads import GlobalHead, GuidedHead, HierarchicalHead


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
        """Number of which height and width of an input must be multiples."""
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
        return Output(self._gated(mask, classes), classes)

    def _gated(self, mask: Tensor | None, classes: Tensor | None) -> Tensor | None:
        if not self.config.gated or mask is None or classes is None or self.config.no_lesion is None:
            return mask
        return gated(mask, classes, self.config.classes.index(self.config.no_lesion))


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


def build_network(config: NetworkConfig) -> Network:
    """Build the network of a config with random weights. Nothing is downloaded.

    Raises:
        OptionError: The encoder is unknown, or doesn't fit the decoder.
    """
    use_own_threads()
    encoders.register()
    try:
        if config.decoder is None:
            encoder = smp.encoders.get_encoder(config.encoder, in_channels=config.in_channels, weights=None)
            return Network(config, encoder, None, None)
        parts = smp.create_model(
            config.decoder,
            encoder_name=config.encoder,
            encoder_weights=None,
            in_channels=config.in_channels,
            classes=1,
            **_decoder_options(config),
        )
    except (KeyError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise OptionError(_why_not(config, error)) from error
    return Network(config, parts.encoder, parts.decoder, parts.segmentation_head)


def _decoder_options(config: NetworkConfig) -> dict[str, Any]:
    return {} if config.decoder_channels is None else {"decoder_channels": config.decoder_channels}


def _class_head(config: NetworkConfig, encoder: nn.Module, mask_head: nn.Module | None) -> nn.Module | None:
    channels: list[int] = list(encoder.out_channels)  # type: ignore[arg-type]
    if config.head is None:
        return None
    if config.head == "global" or mask_head is None:
        return GlobalHead(channels[-1], len(config.classes), config.dropout, config.hidden)
    deepest = int(encoder.output_stride)  # type: ignore[arg-type]
    strides = [min(2**level, deepest) for level in range(len(channels))]
    decoded_channels = next(m.in_channels for m in mask_head.modules() if isinstance(m, nn.Conv2d))
    guided = GuidedHead(channels, strides, decoded_channels, len(config.classes), config.dropout, config.hidden)
    if config.head == "hierarchical" and config.no_lesion is not None:
        return HierarchicalHead(guided, config.classes.index(config.no_lesion))
    return guided


def _why_not(config: NetworkConfig, error: Exception) -> str:
    known = {name.removeprefix("tu-") for name in [config.encoder]}
    if _is_known(config.encoder):
        return f"encoder={config.encoder!r} and decoder={config.decoder!r} do not go together: {error}"
    return (
        f"encoder={config.encoder!r} is unknown ({', '.join(sorted(known))} is neither an encoder of "
        "segmentation-models-pytorch, nor, with 'tu-' in front, of timm). Try resnet50, vgg16, vgg16_bn, mobilenet_v2, "
        "efficientnet-b0, tu-tf_efficientnet_lite0 or plain_cnn."
    )


def _is_known(encoder: str) -> bool:
    if not encoder.startswith("tu-"):
        return encoder in smp.encoders.encoders
    import timm

    return bool(timm.is_model(encoder.removeprefix("tu-")))
