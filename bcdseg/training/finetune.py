"""Fine-tuning for other classes, and knowledge distillation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.data.labels import match_classes
from bcdseg.errors import OptionError
from bcdseg.inference.rules import Rules, described, site_rules
from bcdseg.model.model import Model
from bcdseg.model.registry import joint_training_overlap
from bcdseg.networks.config import no_lesion_class
from bcdseg.networks.heads import GlobalHead, GuidedHead, HierarchicalHead
from bcdseg.networks.network import Ensemble, Network, Output, calibrated

INHERITED = ("licence", "licence_id", "citation")
"""Parts of a model's metadata that also apply to models trained from it."""

if TYPE_CHECKING:
    from bcdseg.model.model import Model


def adapt(model: Model, classes: Sequence[str]) -> tuple[Model, str | None]:
    """Return a copy of a model for the classes of a data set, to be fine-tuned, and a description of the changes.

    Labels are matched by name, so the model's own classes, all or some of them in any order, change nothing. Where the data have a
    class that the model doesn't have, the model takes the data's classes: encoder, decoder and all of the class head but its last
    layer are kept, and the last layer is replaced by one that keeps the rows of the classes that the model had already. Thresholds
    on probabilities of the old classes, their calibration and figures are dropped; the rules of outlines and the record of the
    scans that it was trained on are kept.

    Args:
        model: Any model but an ensemble; it is not changed.
        classes: Labels that occur in the data; empty for data without labels, which leave the head unchanged.

    Returns:
        The copy, and a sentence that describes the changes, or None when there are none.

    Raises:
        OptionError: The model is an ensemble, or there are fewer than two classes.
    """
    if isinstance(model.network, Ensemble):
        raise OptionError(f"{model.name}: an ensemble is not trained. Train its members, or a new model with it as teacher.")
    network = copy.deepcopy(model.network)
    if network.class_head is None or set(classes) <= set(model.classes):
        unused = "The model has no class head: the labels of the data are not used." if classes and not model.classes else None
        return _copy_of(model, network, model.rules), unused
    _renew_head(network, tuple(classes))
    old = model.rules
    kept = {name: getattr(old, name) for name in ("threshold", "min_lesion_share", "refinement", "training_images")}
    rules = Rules(**kept)
    adapted = _copy_of(model, network, rules)
    inherited = {name: model.training[name] for name in INHERITED if name in model.training}
    adapted.training = {"seen": joint_training_overlap([model]), **inherited} if model.training else {}
    removed = [f"{name} {value}" for name, value in described(old).items() if described(rules).get(name) != value]
    removed += site_rules(old)
    return adapted, _what_changed(model, classes) + (f" Removed with the old classes: {', '.join(removed)}." if removed else "")


def _copy_of(model: Model, network: Network, rules: Rules) -> Model:
    training = copy.deepcopy(model.training)
    return Model(network, model.preprocessing, rules, training=training, name=model.name, device=model.device)


def _renew_head(network: Network, classes: tuple[str, ...]) -> None:
    """Replace the last layer of the class head; rows of classes that the model has already are kept.

    A hierarchical head is kept where the new classes include a negative class and two or more others; else its trunk becomes a
    guided head.
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
    last = getattr(trunk, "linear", None)
    if not isinstance(last, nn.Linear):
        raise OptionError(
            f"head={old.head!r} can't be adapted to the classes {', '.join(classes)}: it has no last layer named 'linear'. "
            "Name it so, or create a model with these classes."
        )
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
    """Return the row of each class in the last layer; the first row of a hierarchical head is the presence of a lesion."""
    if not hierarchical:
        return {name: row for row, name in enumerate(classes)}
    return {_PRESENCE: 0} | {name: 1 + row for row, name in enumerate(name for name in classes if name != negative)}


_PRESENCE = ""  # no class has an empty name


def _what_changed(model: Model, classes: Sequence[str]) -> str:
    known = [name for name in classes if name in model.classes]
    new = [name for name in classes if name not in model.classes]
    dropped = [name for name in model.classes if name not in classes]
    kept = ["the encoder"] + ["the decoder"] * (model.network.decoder is not None)
    kept += [f"the weights of the class head for {_listed(known)}"] * bool(known)
    changes = [f"a new class head for {_listed(new)}"] * bool(new) + [f"{_listed(dropped)} dropped"] * bool(dropped)
    return (
        f"{model.name} has {_listed(model.classes)}, the data has {_listed(classes)}: kept are {_listed(kept)}; "
        f"changed: {', '.join(changes)}."
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


TEMPERATURE = 2.0
"""Temperature that softens the class probabilities, so that the teacher's less likely classes count too."""

_OVERLAP = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=1.0, smooth_dr=1.0)


def distil(
    output: Output, teacher: Output, *, temperature: float = TEMPERATURE, mask_weight: float = 1.0, class_weight: float = 0.5
) -> Tensor:
    """Compute the distance of a network's outputs from a teacher's, mean over the batch: zero where they are equal, else positive.

    Classes: the Kullback-Leibler divergence at a temperature, times its square, so that gradients keep their size (Hinton,
    Vinyals, Dean: Distilling the knowledge in a neural network, 2015). Masks: the same divergence of each pixel, and Dice on the
    probabilities. A head that either network lacks adds nothing.

    Args:
        output: Output of the network that is trained.
        teacher: Output of the teacher for the same batch; no gradient flows to it.
        temperature: Temperature of the classes.
        mask_weight: Weight of the masks.
        class_weight: Weight of the classes.
    """
    total = torch.zeros((), device=next(part.device for part in output if part is not None))
    if output.mask is not None and teacher.mask is not None:
        total = total + mask_weight * _masks(output.mask.float(), teacher.mask.detach().float())
    if output.classes is not None and teacher.classes is not None:
        total = total + class_weight * _classes(output.classes.float(), teacher.classes.detach().float(), temperature)
    return total


class Teacher:
    """Frozen copy of a model that is applied to batches prepared for another one.

    It is not a module, so that checkpoints, averages and optimisers of the trained network don't include it.

    Args:
        teacher: Any model, also an ensemble; its temperature and class offsets are applied to its outputs.
        model: The model that is trained.

    Raises:
        OptionError: The teacher has other classes, no head in common with the model, or scans of another size.
    """

    def __init__(self, teacher: Model, model: Model) -> None:
        _check_fit(teacher, model)
        self.network = copy.deepcopy(teacher.network).eval().requires_grad_(False)
        self.calibration = (teacher.rules.temperature, teacher.rules.class_offsets)
        self.given, self.wanted = model.preprocessing, teacher.preprocessing

    def __call__(self, image: Tensor) -> Output:
        """Return the teacher's output for a batch prepared for the trained model."""
        with torch.no_grad():
            self.network.to(image.device)
            output: Output = self.network(self._prepared(image))
            return output._replace(classes=None if output.classes is None else calibrated(output.classes, *self.calibration))

    def __deepcopy__(self, _: dict[int, object]) -> Teacher:
        """Return itself: the average of the weights copies the task that the teacher belongs to, and needs no second teacher."""
        return self

    def _prepared(self, image: Tensor) -> Tensor:
        if (self.given.mean, self.given.std) == (self.wanted.mean, self.wanted.std):
            return image
        mean, std, other_mean, other_std = (
            image.new_tensor(values)[:, None, None]
            for values in (self.given.mean, self.given.std, self.wanted.mean, self.wanted.std)
        )
        return (image * std + mean - other_mean) / other_std


def _check_fit(teacher: Model, model: Model) -> None:
    classes = match_classes(teacher.classes, teacher.name, model.classes, model.name)
    if model.classes and classes and model.classes != classes:
        raise OptionError(
            f"teacher={teacher.name}: has the classes {', '.join(teacher.classes)}, in this order; the model has "
            f"{', '.join(model.classes)}. Give a teacher of the same classes in the same order."
        )
    for facts in ("size", "resize", "channels", "stride"):
        theirs, ours = getattr(teacher.preprocessing, facts), getattr(model.preprocessing, facts)
        if theirs != ours:
            raise OptionError(
                f"teacher={teacher.name}: its input has the {facts} {theirs}, and the model's has {ours}: "
                "create the model with the teacher's."
            )
    heads = [(one.network.config.decoder is not None, bool(one.classes)) for one in (teacher, model)]
    if not any(has and learns for has, learns in zip(*heads, strict=True)):
        raise OptionError(f"teacher={teacher.name}: has no head in common with the model, so there is nothing to learn from it.")


def _masks(logits: Tensor, teacher: Tensor) -> Tensor:
    target = torch.sigmoid(teacher)
    entropy = F.binary_cross_entropy_with_logits(teacher, target)
    overlap: Tensor = _OVERLAP(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target) - entropy + overlap


def _classes(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    learned, target = (F.log_softmax(one / temperature, dim=1) for one in (logits, teacher))
    return F.kl_div(learned, target, reduction="batchmean", log_target=True) * temperature**2
