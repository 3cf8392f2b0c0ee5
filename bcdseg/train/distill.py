"""Distillation: a network learns the answers of another one, of both heads."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional as F

from bcdseg.errors import OptionError
from bcdseg.network.network import Output

if TYPE_CHECKING:
    from bcdseg.model.model import Model

TEMPERATURE = 2.0
"""Softens the classes' probabilities, so that what the teacher thinks of the less likely ones counts too."""

_OVERLAP = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=1.0, smooth_dr=1.0)


def distil(
    output: Output, teacher: Output, *, temperature: float = TEMPERATURE, mask_weight: float = 1.0, class_weight: float = 0.5
) -> Tensor:
    """How far a network's answers are from a teacher's, mean over the batch: zero where both say the same, else above it.

    Classes: the Kullback-Leibler divergence at a temperature, times its square, so that gradients keep their size (Hinton,
    Vinyals, Dean: Distilling the knowledge in a neural network, 2015). Masks: the same divergence of each pixel, and Dice on the
    probabilities. A head that either network lacks adds nothing.

    Args:
        output: Of the network that learns.
        teacher: Of the teacher, on the same batch; no gradient goes there.
        temperature: Of the classes.
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
    """A frozen copy of a model, that answers batches which were prepared for another one.

    It is no module, so that neither checkpoints nor averages nor optimisers of the network that learns hold it.

    Args:
        teacher: Any model, an ensemble too; its temperature is applied to its answers.
        model: The model that learns.

    Raises:
        OptionError: The teacher's answers mean something else: of other classes, or on scans of another size.
    """

    def __init__(self, teacher: Model, model: Model) -> None:
        _check_fit(teacher, model)
        self.network = copy.deepcopy(teacher.network).eval().requires_grad_(False)
        self.temperature = teacher.rules.temperature
        self.given, self.wanted = model.preprocessing, teacher.preprocessing

    def __call__(self, image: Tensor) -> Output:
        """The answers for a batch as the learning model sees it."""
        with torch.no_grad():
            self.network.to(image.device)
            output: Output = self.network(self._prepared(image))
            return output._replace(classes=None if output.classes is None else output.classes / self.temperature)

    def __deepcopy__(self, _: dict[int, object]) -> Teacher:
        """Itself: a running average copies the task that it belongs to, and needs no second teacher."""
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
    if model.classes and teacher.classes and model.classes != teacher.classes:
        raise OptionError(
            f"teacher={teacher.name}: has the classes {', '.join(teacher.classes)}, in this order; the model has "
            f"{', '.join(model.classes)}. Give a teacher of the same classes in the same order."
        )
    for facts in ("size", "resize", "channels", "stride"):
        theirs, ours = getattr(teacher.preprocessing, facts), getattr(model.preprocessing, facts)
        if theirs != ours:
            raise OptionError(
                f"teacher={teacher.name}: sees scans at the {facts} {theirs}, the model at {ours}: create it with the same."
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
