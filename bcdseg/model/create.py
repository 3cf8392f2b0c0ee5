"""New models and ensembles of models."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Number
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from bcdseg.data.labels import match_classes
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import OptionError
from bcdseg.inference.rules import Rules
from bcdseg.messages import as_plain, check_whole
from bcdseg.model.model import Model
from bcdseg.model.registry import joint_training_overlap
from bcdseg.networks.config import EnsembleConfig, Member, NetworkConfig, no_lesion_class
from bcdseg.networks.encoders import registered_name
from bcdseg.networks.network import Ensemble, Network, build_network
from bcdseg.networks.pretrained import load_pretrained, normalisation
from bcdseg.types import as_text


def create(
    encoder: str | nn.Module,
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
    """Build a new model. Nothing is downloaded except for ``weights="imagenet"``.

    Args:
        encoder: Name of an encoder: ``resnet50``, ``vgg16``, ``vgg16_bn``, ``mobilenet_v2``, any other encoder of
            segmentation-models-pytorch, any of timm with ``tu-`` in front (``tu-convnext_tiny``), ``plain_cnn``, or a registered
            name. Or a module of your own, whose ``forward(image)`` returns five feature maps, at strides of 2, 4, 8, 16 and 32, and
            whose ``out_channels`` are their numbers of channels. A model with a module whose class isn't registered predicts, but
            can't be saved, nor trained with ``bcdseg.fit``, which saves it.
        classes: Names of two or more classes, also numbers (BI-RADS), which become texts; empty when ``head`` is None.
        decoder: Name of a decoder: ``unet`` or another one of segmentation-models-pytorch; None is classification only.
        weights: Source of the encoder's weights: ``"imagenet"``, a file, a folder, or None for random weights.
        head: Classification head: ``"guided"`` pools features globally and under the predicted mask, ``"global"`` only globally;
            ``"hierarchical"``, or a registered name. None is segmentation only. A classification-only model (``decoder=None``) has
            no mask, so its head is global.
        in_channels: Number of channels: 1 for gray scans, 3 for colour.
        no_lesion: Negative class ('no lesion'); ``"auto"`` is ``normal`` if there is one.
        size: Height and width to which scans are resized.
        resize: Method of resizing: ``"stretch"``, ``"fit"`` (keeps the aspect ratio and pads) or ``"none"``.
        decoder_channels: Width of each decoder stage, deepest first.
        dropout: Dropout rate before the last layer of the classification head.
        hidden: Width of the dense layer before that last one; None is the default: 128 for ``"guided"``, none for ``"global"``.
        gated: Whether each pixel's probability is multiplied by the probability of a lesion in the scan: fewer outlines in normal
            scans, and fewer that contradict the class. It requires a negative class.
        device: Device of predictions: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        seed: Seed of the random weights, which keeps torch's random state. With None they are drawn from torch's random state, so
            that they differ from run to run unless ``torch.manual_seed`` was called.

    Returns:
        Model with an untrained head and decoder.

    Raises:
        OptionError: An option is not one of its choices; the message lists them.
        WeightsUnavailableError: The weights could not be downloaded; the message names the file and where to put it.
    """
    in_channels, dropout, hidden, seed = (as_plain(value) for value in (in_channels, dropout, hidden, seed))
    sides = (size, size) if isinstance(size, Number) else size
    module = encoder if isinstance(encoder, nn.Module) else None
    if not isinstance(classes, Iterable):
        raise OptionError(f"classes={classes!r}: give a list of names, or () together with head=None.")
    classes = classes if isinstance(classes, str) else tuple(as_text(one) if isinstance(one, Number) else one for one in classes)
    name = encoder if module is None else registered_name(module)
    config = NetworkConfig(
        encoder=name,  # type: ignore[arg-type] # anything but a string is refused there
        classes=classes,  # type: ignore[arg-type] # a string is refused there
        no_lesion=no_lesion_class(classes, no_lesion),
        decoder=decoder,
        head="global" if decoder is None and head == "guided" else head,
        in_channels=in_channels,
        decoder_channels=None if decoder_channels is None else tuple(map(as_plain, decoder_channels)),
        dropout=dropout,
        hidden=hidden,
        gated=gated,
    )
    with _random_numbers(seed):
        network = build_network(config, module).eval()
    if weights is not None:
        load_pretrained(network.encoder, config.encoder, weights)
    mean, std = normalisation(config.encoder, in_channels)
    preprocessing = Preprocessing(
        size=tuple(map(as_plain, sides)),  # type: ignore[arg-type] # another number of sides is refused there
        resize=resize,
        channels=in_channels,
        mean=mean,
        std=std,
        stride=network.stride,
    )
    return Model(network, preprocessing, name=f"new {config.encoder}", device=device)


@contextmanager
def _random_numbers(seed: int | None) -> Iterator[None]:
    """Set torch's seed and restore the random state afterwards; None keeps the caller's random state."""
    if seed is None:
        yield
        return
    check_whole(seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


SHARED = ("data", "licence", "licence_id", "citation")  # copied to the ensemble where all members have the same value


def ensemble(models: Sequence[Model], *, name: str | None = None) -> Model:
    """Combine several models to an ensemble that predicts the mean of their probabilities; it saves and loads like any model.

    Each member's temperature is applied to its raw output before averaging. The ensemble's mask threshold, smallest lesion and
    confidence threshold are the medians over the members; calibrate the ensemble to choose better ones.

    Args:
        models: Two or more models with the same channels and the same size; those that classify with the same classes in the same
            order. Where the classes differ in case, the ensemble has the first model's, with a warning. Encoders may differ. Models
            without a mask, or without classes, are left out of that average. They are copied, not changed.
        name: Name of the ensemble.

    Raises:
        OptionError: The models can't be combined; the message states the reason.
    """
    models = list(models)
    networks = [_network(model) for model in models]
    first = next((model for model in models if model.classes), None)
    config = EnsembleConfig(members=tuple(_member(*pair, first) for pair in zip(models, networks, strict=True)))
    for facts in ("size", "resize", "stride"):
        _check_same(models, facts)
    channels = config.in_channels
    return Model(
        Ensemble(config, [copy.deepcopy(network).cpu() for network in networks]).eval(),
        replace(models[0].preprocessing, mean=(0.0,) * channels, std=(1.0,) * channels),  # each member normalises its input itself
        _rules([model.rules for model in models]),
        training=_training(models),
        name=name or f"ensemble of {len(models)}",
        device=models[0].device,
    )


def _network(model: Model) -> Network:
    if not isinstance(model, Model):
        raise OptionError(f"{model!r}: is not a Model. Give a list of models, each from load, create or fit.")
    if isinstance(model.network, Ensemble):
        raise OptionError(f"{model.name}: is an ensemble itself. Give the models that it was made of, so that each counts once.")
    return model.network


def _member(model: Model, network: Network, first: Model | None) -> Member:
    """Return the description of a member, whose classes have the spelling of the first model that classifies."""
    path, config = model.preprocessing, network.config
    spelled = match_classes(config.classes, model.name, first.classes if first else (), first.name if first else "")
    no_lesion = None if config.no_lesion is None else spelled[config.classes.index(config.no_lesion)]
    return Member(
        network=replace(config, classes=spelled, no_lesion=no_lesion),
        mean=path.mean,
        std=path.std,
        temperature=model.rules.temperature,
        class_offsets=model.rules.class_offsets,
    )


def _check_same(models: Sequence[Model], facts: str) -> None:
    values = {model.name: getattr(model.preprocessing, facts) for model in models}
    if len({getattr(model.preprocessing, facts) for model in models}) > 1:
        each = "; ".join(f"{name} {value!r}" for name, value in values.items())
        raise OptionError(f"The members of an ensemble must preprocess scans with the same {facts}: {each}.")


def _rules(each: Sequence[Rules]) -> Rules:
    return Rules(
        threshold=median(rules.threshold for rules in each),
        min_lesion_share=median(rules.min_lesion_share for rules in each),
        min_confidence=median(rules.min_confidence for rules in each),
    )


def _training(models: Sequence[Model]) -> dict[str, Any]:
    """Return the joint training metadata of the members; empty when none was trained."""
    if not any(model.training for model in models):
        return {}
    names = ", ".join(model.name for model in models)
    training: dict[str, Any] = {
        "summary": f"{len(models)} models whose predictions are averaged: {names}.",
        "method": "The mean of the members' probabilities, each after its own temperature.",
    }
    for title in SHARED:
        values = [model.training.get(title) for model in models]
        if values[0] and all(value == values[0] for value in values):
            training[title] = values[0]
    training["members"] = [
        {"name": model.name, **{key: value for key, value in model.training.items() if key not in ("name", "seen")}}
        for model in models
    ]
    return training | {"seen": joint_training_overlap(models)}
