"""Targets from trained networks, which see scans before their look is changed (Hinton et al., Distilling the knowledge, 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdseg.networks.network import Network


class SoftTargets(NamedTuple):
    """Mean probabilities of the teachers.

    Attributes:
        masks: Probability of a lesion at each pixel.
        presence: Probability that a lesion is in view, one per scan.
        lesion_classes: Probability of each class given a lesion; scans x classes without the negative class.
    """

    masks: Tensor
    presence: Tensor
    lesion_classes: Tensor


@torch.no_grad()
def soft_targets(teachers: Sequence[Network], images: Tensor) -> SoftTargets:
    """Return the mean of the teachers' probabilities on normalised images."""
    found = [_taught(teacher, images) for teacher in teachers]
    return SoftTargets(*(torch.stack(values).mean(dim=0) for values in zip(*found, strict=True)))


def _taught(network: Any, images: Tensor) -> SoftTargets:
    features = network.encoder(images)
    decoded = network.decoder(features)
    mask = network.mask_head(decoded)
    decisions = network.class_head.decide(features, decoded, mask)
    presence = network.class_head.presence(torch.cat([decisions.evidence, decisions.context], dim=1))
    return SoftTargets(torch.sigmoid(mask), torch.sigmoid(presence[:, 0]), decisions.lesion_classes.softmax(dim=1))


def mask_loss(logits: Tensor, soft: SoftTargets) -> Tensor:
    """Return the cross entropy of an outline with that of the teachers."""
    return F.binary_cross_entropy_with_logits(logits, soft.masks)


def presence_loss(logits: Tensor, soft: SoftTargets) -> Tensor:
    """Return the cross entropy of presence with that of the teachers."""
    return F.binary_cross_entropy_with_logits(logits[:, 0], soft.presence)


def class_loss(logits: Tensor, soft: SoftTargets) -> Tensor:
    """Return each scan's cross entropy of the class of its lesion with that of the teachers."""
    return F.cross_entropy(logits, soft.lesion_classes, reduction="none")
