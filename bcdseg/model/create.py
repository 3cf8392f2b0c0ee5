"""A new model from the name of an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from bcdseg.data.preprocess import Preprocessing
from bcdseg.model.model import Model
from bcdseg.network.config import NetworkConfig, no_lesion_class
from bcdseg.network.network import build_network
from bcdseg.network.pretrained import load_pretrained, normalisation


def create(
    encoder: str,
    *,
    classes: Sequence[str],
    decoder: str | None = "unet",
    weights: str | Path | None = None,
    head: str | None = "guided",
    in_channels: int = 1,
    no_lesion: str | None = "auto",
    size: int | tuple[int, int] = 256,
    resize: str = "stretch",
    decoder_channels: Sequence[int] | None = None,
    dropout: float = 0.3,
    hidden: int | None = None,
    gated: bool = False,
    device: str = "auto",
    seed: int | None = None,
) -> Model:
    """Build a new model. Nothing is downloaded unless ``weights="imagenet"`` asks for it.

    Args:
        encoder: ``resnet50``, ``vgg16``, ``vgg16_bn``, ``mobilenet_v2``, any other encoder of segmentation-models-pytorch,
            any of timm with ``tu-`` in front (``tu-convnext_tiny``), or ``plain_cnn``.
        classes: Two or more names; empty when ``head`` is None.
        decoder: ``unet`` or another of segmentation-models-pytorch; None is classification only.
        weights: ``"imagenet"``, a file or folder with the encoder's weights, or None for random ones.
        head: ``"guided"`` pools features globally and under the predicted mask, ``"global"`` only globally, None is
            segmentation only. A classification-only model (``decoder=None``) has no mask to be guided by: its head is global.
        in_channels: 1 for gray scans, 3 for colour.
        no_lesion: The class that means 'no lesion'; ``"auto"`` takes ``normal`` where there is one.
        size: Height and width that scans are brought to.
        resize: ``"stretch"``, ``"fit"`` (keeps the aspect ratio and pads) or ``"none"``.
        decoder_channels: Width of each decoder stage, deepest first.
        dropout: Dropout before the last layer of the classification head.
        hidden: Width of the dense layer before that last one; None is the head's own: 128 of ``"guided"``, none of ``"global"``.
        gated: Whether a pixel's probability is multiplied by the probability that there is a lesion at all: fewer outlines in
            normal scans, and fewer that contradict the class. Needs a class that means 'no lesion'.
        device: Where predictions run: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        seed: Of the random weights; torch's own random numbers then stay as they were. None takes the weights from these, so that
            they differ from run to run unless ``torch.manual_seed`` was called.

    Returns:
        A model with an untrained head and decoder.

    Raises:
        OptionError: An option is not one of its choices; the message lists them.
        WeightsUnavailableError: The hub could not be reached; the message names the file and where to put it.
    """
    config = NetworkConfig(
        encoder=encoder,
        classes=classes if isinstance(classes, str) else tuple(classes),  # type: ignore[arg-type] # a string is refused there
        no_lesion=no_lesion_class(classes, no_lesion),
        decoder=decoder,
        head="global" if decoder is None and head == "guided" else head,
        in_channels=in_channels,
        decoder_channels=None if decoder_channels is None else tuple(decoder_channels),
        dropout=dropout,
        hidden=hidden,
        gated=gated,
    )
    with _random_numbers(seed):
        network = build_network(config).eval()
    if weights is not None:
        load_pretrained(network.encoder, encoder, weights)
    mean, std = normalisation(encoder, in_channels)
    preprocessing = Preprocessing(
        size=(size, size) if isinstance(size, int) else size,
        resize=resize,
        channels=in_channels,
        mean=mean,
        std=std,
        stride=network.stride,
    )
    return Model(network, preprocessing, name=f"new {encoder}", device=device)


@contextmanager
def _random_numbers(seed: int | None) -> Iterator[None]:
    """Random numbers that follow from a seed and leave the caller's as they were; None is the caller's own."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
