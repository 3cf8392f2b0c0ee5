"""A trained model made ready for the classes of other data."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from bcdseg.errors import OptionError
from bcdseg.infer.rules import Rules
from bcdseg.model.model import Model
from bcdseg.model.seen import all_seen
from bcdseg.network.config import no_lesion_class
from bcdseg.network.ensemble import Ensemble
from bcdseg.network.heads import GlobalHead, GuidedHead, HierarchicalHead
from bcdseg.network.network import Network


def adapt(model: Model, classes: Sequence[str]) -> tuple[Model, str | None]:
    """A copy of a model for the classes of a data set, to be trained further; the model itself stays as it is.

    Labels go by name, so the model's own classes, all or some of them and in whatever order, change nothing. Where the data has a
    class that the model doesn't know, the model takes the data's classes: encoder, decoder and all of the class head but its last
    layer are kept, and that layer is made anew, with the rows of the classes that it knew already. What was calibrated or measured
    for the old classes is dropped; what the model has seen is still remembered.

    Args:
        model: Any model but an ensemble.
        classes: The labels that occur in the data; empty for data without labels, which leave the head as it is.

    Returns:
        The copy, and a sentence that says what was changed, or None when nothing was.

    Raises:
        OptionError: The model is an ensemble, or the classes are fewer than two.
    """
    if isinstance(model.network, Ensemble):
        raise OptionError(f"{model.name}: an ensemble is not trained. Train its members, or a new model with it as teacher.")
    network = copy.deepcopy(model.network)
    if network.class_head is None or set(classes) <= set(model.classes):
        unused = "The model has no class head: the labels of the data are not used." if classes and not model.classes else None
        return _copy_of(model, network, model.rules), unused
    _renew_head(network, tuple(classes))
    rules = Rules(threshold=model.rules.threshold, min_lesion_share=model.rules.min_lesion_share)
    adapted = _copy_of(model, network, rules)
    adapted.training = {"seen": all_seen([model])} if model.training else {}
    return adapted, _what_changed(model, classes)


def _copy_of(model: Model, network: Network, rules: Rules) -> Model:
    training = copy.deepcopy(model.training)
    return Model(network, model.preprocessing, rules, training=training, name=model.name, device=model.device)


def _renew_head(network: Network, classes: tuple[str, ...]) -> None:
    """Replace the last layer of the class head; rows of classes that the model knows are kept.

    A hierarchical head stays one where the new classes have one that means 'no lesion' and two or more others; else its trunk
    becomes a guided head.
    """
    old, head = network.config, network.class_head
    wanted = no_lesion_class(classes, old.no_lesion if old.no_lesion in classes else "auto")
    hierarchical = isinstance(head, HierarchicalHead)
    stays = hierarchical and wanted is not None and len(classes) > 2
    kind = "guided" if hierarchical and not stays else old.head
    network.config = replace(old, classes=classes, no_lesion=wanted, head=kind, gated=old.gated and wanted is not None)
    trunk: GuidedHead | GlobalHead = head.guided if isinstance(head, HierarchicalHead) else head  # type: ignore[assignment]
    before = _rows(old.classes, old.no_lesion, hierarchical)
    after = _rows(classes, wanted, stays)
    last = trunk.linear
    new = nn.Linear(last.in_features, len(classes)).to(last.weight)
    with torch.no_grad():
        for name in before.keys() & after.keys():
            new.weight[after[name]] = last.weight[before[name]]
            new.bias[after[name]] = last.bias[before[name]]
    trunk.linear = new
    if isinstance(head, HierarchicalHead) and stays:
        head.negative = classes.index(str(wanted))
    else:
        network.class_head = trunk


def _rows(classes: Sequence[str], negative: str | None, hierarchical: bool) -> dict[str, int]:
    """Row of each class in the last layer; the first row of a hierarchical head is the presence of a lesion."""
    if not hierarchical:
        return {name: row for row, name in enumerate(classes)}
    return {_PRESENCE: 0} | {name: 1 + row for row, name in enumerate(name for name in classes if name != negative)}


_PRESENCE = ""  # no class has an empty name


def _what_changed(model: Model, classes: Sequence[str]) -> str:
    known = [name for name in classes if name in model.classes]
    new = [name for name in classes if name not in model.classes]
    dropped = [name for name in model.classes if name not in classes]
    kept = ["the encoder"] + ["the decoder"] * (model.network.decoder is not None)
    kept += [f"what the class head knows of {_listed(known)}"] * bool(known)
    changes = [f"a new class head for {_listed(new)}"] * bool(new) + [f"{_listed(dropped)} dropped"] * bool(dropped)
    return (
        f"{model.name} knows {_listed(model.classes)}, the data has {_listed(classes)}: kept are {_listed(kept)}; "
        f"changed: {', '.join(changes)}."
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
