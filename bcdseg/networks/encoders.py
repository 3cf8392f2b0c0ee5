"""Encoders besides those of segmentation-models-pytorch and timm: a small convolutional one, and modules of users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from itertools import pairwise
from typing import Any

import torch
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import Tensor, nn

from bcdseg.errors import OptionError
from bcdseg.messages import counted
from bcdseg.registry import ENCODERS

WIDTHS = (32, 64, 128, 128, 256)
LEVELS = 5
"""Feature maps of an encoder, at strides of 2, 4, 8, 16 and 32."""
UNREGISTERED = "unregistered."
"""Start of the name of an encoder module whose class isn't registered."""


class PlainCNN(nn.Module, EncoderMixin):  # type: ignore[misc]
    """Encoder of five stages, each of two 3x3 convolutions with batch norm and ReLU, then max pooling and dropout."""

    def __init__(self, *, depth: int = 5, output_stride: int = 32, in_channels: int = 3, dropout: float = 0.1) -> None:
        super().__init__()
        self._depth = depth
        self._output_stride = output_stride
        self._in_channels = in_channels
        self._out_channels = [in_channels, *WIDTHS[:depth]]
        self.dropout = dropout
        self._build()

    def _build(self) -> None:
        widths = self._out_channels
        self.stages = nn.ModuleList(_stage(before, after, self.dropout) for before, after in pairwise(widths))

    def set_in_channels(self, in_channels: int, pretrained: bool = False) -> None:  # noqa: ARG002 - the caller passes it by name
        """Set the number of channels, for segmentation-models-pytorch; there are no pretrained weights to keep."""
        if in_channels != self._in_channels:
            self._in_channels = in_channels
            self._out_channels[0] = in_channels
            self._build()

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the image and the features of the five stages, as segmentation-models-pytorch requires."""
        features = [image]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


def _stage(before: int, after: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout2d(dropout),
    )


def register() -> None:
    """Register ``plain_cnn`` with segmentation-models-pytorch, as its documentation describes for custom encoders."""
    entry: dict[str, Any] = {"encoder": PlainCNN, "pretrained_settings": {}, "params": {}}
    smp_encoders.setdefault("plain_cnn", entry)


class CustomEncoder(nn.Module):
    """Encoder module of a user, in the form that the decoders of segmentation-models-pytorch take.

    Args:
        module: Module with the attribute ``out_channels``, the number of channels of five feature maps. ``forward(image)`` returns
            these, at strides of 2, 4, 8, 16 and 32.
        in_channels: Number of channels of the image.
        depth: Number of feature maps that the decoder takes.
    """

    output_stride = 32

    def __init__(self, module: nn.Module, in_channels: int, depth: int = LEVELS) -> None:
        super().__init__()
        self.module = module
        self.out_channels = (in_channels, *_checked_channels(module))[: depth + 1]

    def set_in_channels(self, in_channels: int, pretrained: bool = False) -> None:
        """Accept the number of channels that the module was built for; segmentation-models-pytorch calls this."""

    def make_dilated(self, output_stride: int) -> None:
        """Raise an OptionError: the library can't change the strides of a user's module."""
        raise OptionError(f"the decoder needs an encoder with an output stride of {output_stride}, and this one has 32.")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the image and the feature maps."""
        return [image, *self.module(image)][: len(self.out_channels)]


def registered_name(module: nn.Module) -> str:
    """Return the registered name of the class of an encoder module, or a name that marks it as not registered."""
    names = [name for name, encoder in ENCODERS.items() if encoder is type(module)]
    return names[0] if names else UNREGISTERED + type(module).__name__


def is_registered(name: str) -> bool:
    """Return whether an encoder of the user's own code or of a plug-in is registered under a name.

    Raises:
        OptionError: Another library has an encoder of this name.
    """
    if not name.startswith("tu-") and name not in smp_encoders:
        return name in ENCODERS
    ENCODERS.claim(name, "segmentation-models-pytorch or timm")
    return False


def build_registered(name: str, in_channels: int) -> nn.Module:
    """Build the encoder that is registered under a name.

    Raises:
        OptionError: What is registered doesn't take ``in_channels``, or doesn't return a module.
    """
    build = ENCODERS[name]
    if isinstance(build, nn.Module) or not _takes_channels(build):
        raise OptionError(
            f"encoder={name!r}: register a class or a function that takes the number of channels as in_channels, such as "
            f"build(in_channels), and returns the module; registered is {build!r}."
        )
    module = build(in_channels=in_channels)
    if not isinstance(module, nn.Module):
        raise OptionError(f"encoder={name!r}: what is registered returned {type(module).__name__}, and has to return a module.")
    return module


def _takes_channels(build: Any) -> bool:
    """Return whether ``build(in_channels=...)`` is a valid call."""
    try:
        signature(build).bind(in_channels=1)
    except TypeError:
        return False
    except ValueError:  # some built-in functions have no signature
        pass
    return True


@contextmanager
def known_to_smp(module: nn.Module, in_channels: int) -> Iterator[str]:
    """Register an encoder module with segmentation-models-pytorch as long as the context is open, and yield its name there."""

    def build(depth: int = LEVELS, **_: Any) -> CustomEncoder:
        return CustomEncoder(module, in_channels, depth)

    name = f"bcdseg-{id(module)}"  # threads may build networks at the same time
    smp_encoders[name] = {"encoder": build, "pretrained_settings": {}, "params": {}}
    try:
        yield name
    finally:
        del smp_encoders[name]


def check_encoder_module(module: nn.Module, in_channels: int) -> None:
    """Run an encoder module on an empty image, and raise an OptionError if its feature maps aren't the documented ones."""
    channels, side = _checked_channels(module), 2 ** (LEVELS + 1)
    training = module.training
    parameter = next(module.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            features = module.eval()(torch.zeros(1, in_channels, side, side, device=parameter.device))
    except Exception as error:  # the user's own code may raise anything
        raise OptionError(
            f"encoder: fails on an image of {counted(in_channels, 'channel')} ({type(error).__name__}: {error})."
        ) from error
    finally:
        module.train(training)
    if not isinstance(features, Sequence) or not all(isinstance(one, Tensor) for one in features):
        raise OptionError(f"encoder: forward returns {type(features).__name__}: return a list of {LEVELS} feature maps.")
    wanted = [(1, width, side // 2**level, side // 2**level) for level, width in enumerate(channels, start=1)]
    found = [tuple(one.shape) for one in features]
    if found != wanted:
        raise OptionError(
            f"encoder: forward returns feature maps of {found} for an image of {side}x{side}, and out_channels={channels} wants "
            f"{wanted}: strides of 2, 4, 8, 16 and 32."
        )


def _checked_channels(module: nn.Module) -> tuple[int, ...]:
    channels = tuple(getattr(module, "out_channels", ()))
    if len(channels) != LEVELS or not all(type(width) is int and width > 0 for width in channels):
        raise OptionError(
            f"encoder={type(module).__name__}: out_channels is {channels or 'missing'}: set it to the numbers of channels of the "
            f"{LEVELS} feature maps that forward returns."
        )
    return channels
