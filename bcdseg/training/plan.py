"""Plan of a training run, checked before anything is written."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bcdseg.data.dataset import Dataset
from bcdseg.model.model import Model
from bcdseg.networks.network import Network
from bcdseg.terminal import make_console
from bcdseg.training.config import FitConfig
from bcdseg.training.data.sampling import class_weights
from bcdseg.training.finetune import Teacher, adapt
from bcdseg.training.inputs import Inputs, check_inputs
from bcdseg.training.loop.distributed import is_first
from bcdseg.training.loop.global_state import as_it_was
from bcdseg.training.loop.optimisers import freeze_encoder
from bcdseg.training.loop.trainer_factory import check_compiler
from bcdseg.training.losses import JointLoss


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Plan of a run before it starts.

    Attributes:
        model: Initial model, adapted to the classes of the data.
        train: Training scans.
        val: Validation scans, which select the epoch.
        seen: Ground-truth counts of ``train``.
        check: Ground-truth counts of ``val``.
        config: The options.
        augment: The caller's own augmentation, in place of the config's.
        teacher: Teacher whose outputs are distilled, or None.
        say: Function that prints a line, in the first process, unless ``progress`` is off.
    """

    model: Model
    train: Dataset
    val: Dataset
    seen: Inputs
    check: Inputs
    config: FitConfig
    augment: Any
    teacher: Teacher | None
    say: Callable[[str], None]

    @property
    def facts(self) -> dict[str, Any]:
        """Configuration and preprocessing of the network that a checkpoint's weights belong to."""
        return {"network": asdict(self.model.network.config), "preprocessing": asdict(self.model.preprocessing)}

    def network(self) -> Network:
        """Return a network to train. A head without ground truth is frozen, where weight decay would change it."""
        network = copy.deepcopy(self.model.network)
        assert isinstance(network, Network)  # ensembles were refused before
        network.train().requires_grad_(True)
        freeze_encoder(network, self.config.freeze_encoder_epochs == -1)
        for head, known in ((network.mask_head, self.seen.masks), (network.class_head, self.seen.labels)):
            if head is not None and not known:
                head.requires_grad_(False)
        # The network needs this layout too: with channels-last images alone a step takes 1.4 times as long.
        return network.to(memory_format=torch.channels_last) if self.config.channels_last else network

    def loss(self) -> JointLoss:
        """Return the joint loss, with rare classes weighted up where ``balance`` is ``weight``."""
        config, classes = self.config, self.model.classes
        return JointLoss(
            mask_loss=config.mask_loss,
            class_loss=config.class_loss,
            label_smoothing=config.label_smoothing,
            task_weights=config.task_weights,
            mask_weight=config.mask_weight,
            class_weight=config.class_weight,
            class_weights=class_weights(self.train, classes) if config.balance == "weight" and classes else None,
        )


def make_plan(
    model: Model, train: Dataset, val: Dataset, config: FitConfig, *, augment: Any = None, teacher: Model | None = None
) -> TrainingPlan:
    """Check all input of a run, and print a summary of it.

    Raises:
        BcdsegError: The input is inconsistent; its subclass depends on the check that failed.
    """
    say = _teller(config)
    if config.compile:
        check_compiler()
    with as_it_was():
        torch.manual_seed(config.seed)  # for a class head that is reinitialised
        model, changed = adapt(model, train.classes)
    seen, check = check_inputs(model, train, val)
    guide = None if teacher is None else Teacher(teacher, model)
    for line in (f"Training: {seen}", f"Validation: {check}", *([changed] if changed else []), *_not_learned(model, seen)):
        say(line)
    return TrainingPlan(
        model=model, train=train, val=val, seen=seen, check=check, config=config, augment=augment, teacher=guide, say=say
    )


def _not_learned(model: Model, seen: Inputs) -> list[str]:
    """Return sentences on the heads and classes that the scans can't train."""
    lines = []
    if model.network.config.decoder is not None and not seen.masks:
        lines.append("No masks: the outlines are not trained, and mean no more than before.")
    if model.classes and not seen.labels:
        lines.append("No labels: the classes are not trained, and mean no more than before.")
    elif forgotten := [name for name in model.classes if name not in seen.classes]:
        lines.append(f"No scan of {', '.join(forgotten)}: the model will learn to call no scan that.")
    return lines


def _teller(config: FitConfig) -> Callable[[str], None]:
    console = make_console(stderr=True, quiet=not (config.progress and is_first()))
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
