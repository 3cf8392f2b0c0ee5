"""Several models as one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from bcdseg.errors import OptionError
from bcdseg.infer.rules import Rules
from bcdseg.model.model import Model
from bcdseg.model.seen import all_seen
from bcdseg.network.ensemble import Ensemble, EnsembleConfig, Member
from bcdseg.network.network import Network

SHARED = ("data", "licence", "licence_id", "citation")  # said of the ensemble where all members say the same


def ensemble(models: Sequence[Model], *, name: str | None = None) -> Model:
    """Make one model of several: it predicts the mean of their probabilities, and saves and loads like any other.

    Each member's temperature is applied to its own answer before averaging. The ensemble's threshold, smallest lesion and
    confidence threshold are the middle (median) of the members' own; calibrate it to choose better ones.

    Args:
        models: Two or more, of the same classes in the same order, the same channels and the same size. Encoders may differ.
            Those without a mask, or without classes, leave that answer to the others. They are copied, not changed.
        name: What to call it.

    Raises:
        OptionError: The models don't fit together; the message says in what.
    """
    models = list(models)
    networks = [_network(model) for model in models]
    config = EnsembleConfig(members=tuple(map(_member, models, networks)))
    for facts in ("size", "resize", "stride"):
        _check_same(models, facts)
    channels = config.in_channels
    return Model(
        Ensemble(config, [copy.deepcopy(network).cpu() for network in networks]).eval(),
        replace(models[0].preprocessing, mean=(0.0,) * channels, std=(1.0,) * channels),  # each member normalises for itself
        _rules([model.rules for model in models]),
        training=_training(models),
        name=name or f"ensemble of {len(models)}",
        device=models[0].device,
    )


def _network(model: Model) -> Network:
    if not isinstance(model, Model):
        raise OptionError(f"{model!r}: is no model. Give a list of models, each from load, create or fit.")
    if isinstance(model.network, Ensemble):
        raise OptionError(f"{model.name}: is an ensemble itself. Give the models that it was made of, so that each counts once.")
    return model.network


def _member(model: Model, network: Network) -> Member:
    path = model.preprocessing
    return Member(network=network.config, mean=path.mean, std=path.std, temperature=model.rules.temperature)


def _check_same(models: Sequence[Model], facts: str) -> None:
    values = {model.name: getattr(model.preprocessing, facts) for model in models}
    if len({getattr(model.preprocessing, facts) for model in models}) > 1:
        each = "; ".join(f"{name} {value!r}" for name, value in values.items())
        raise OptionError(f"The members of an ensemble must see scans at the same {facts}: {each}.")


def _rules(each: Sequence[Rules]) -> Rules:
    return Rules(
        threshold=median(rules.threshold for rules in each),
        min_lesion_share=median(rules.min_lesion_share for rules in each),
        min_confidence=median(rules.min_confidence for rules in each),
    )


def _training(models: Sequence[Model]) -> dict[str, Any]:
    """What the members were trained on, together; empty when none was trained."""
    if not any(model.training for model in models):
        return {}
    names = ", ".join(model.name for model in models)
    told: dict[str, Any] = {
        "summary": f"{len(models)} models that answer as one: {names}.",
        "method": "The mean of the members' probabilities, each after its own temperature.",
    }
    for title in SHARED:
        values = [model.training.get(title) for model in models]
        if values[0] and all(value == values[0] for value in values):
            told[title] = values[0]
    told["members"] = [
        {"name": model.name, **{key: value for key, value in model.training.items() if key not in ("name", "seen")}}
        for model in models
    ]
    return told | {"seen": all_seen(models)}
