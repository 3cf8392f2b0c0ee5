"""Grad-CAM heat maps of a class.

A heat map is a hint at what raised a class's score, at the coarse resolution of the network's deepest features. It is not an
outline, not a proof that the model has used the right features, and not evidence about the patient: heat maps of wrong
predictions look just as convincing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.networks.network import AnyNetwork, Ensemble, Network
from bcdseg.runtimes.base import Array, to_unit


def grad_cam(network: AnyNetwork, image: Tensor, class_index: int) -> Array:
    """Compute MONAI's Grad-CAM of one class for one preprocessed scan, at the size of the network input; from 0 to 1.

    The encoder runs without gradients; they are computed from the class score back to its deepest features only.
    The heat map of an ensemble is the mean over its members.

    Args:
        network: Network in evaluation mode.
        image: Preprocessed scan, 1 x channels x height x width, on the network's device.
        class_index: Index of the class.
    """
    if isinstance(network, Ensemble):
        parts = [(member, normalised) for facts, member, normalised in network.each(image) if facts.network.head is not None]
        return to_unit(np.mean([grad_cam(member, normalised, class_index) for member, normalised in parts], axis=0))
    from monai.visualize import GradCAM  # the import takes seconds, so only where it is needed

    with torch.no_grad():
        *others, deepest = network.encoder(image)

    def to_input(_: Any) -> Any:
        return lambda values: F.interpolate(values, size=image.shape[-2:], mode="bilinear", align_corners=False)

    cam = GradCAM(_AfterEncoder(network), "deepest", upsampler=to_input, postprocessing=lambda values: values)
    heatmap = cam(deepest.clone().requires_grad_(), class_idx=class_index, others=others)
    return to_unit(np.asarray(heatmap[0, 0].detach().cpu().float()))


class _AfterEncoder(nn.Module):
    """Part of a network that needs gradients; parallel scans share the layers but not the hooks."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.deepest = nn.Identity()
        self.network = network
        self.eval()

    def forward(self, deepest: Tensor, others: list[Tensor]) -> Tensor:
        features = [*others, self.deepest(deepest).clone()]  # so that in-place layers don't change the hooked tensor
        network, decoded, mask = self.network, None, None
        if network.decoder is not None and network.mask_head is not None:
            decoded = network.decoder(features)
            mask = network.mask_head(decoded)
        return network.class_head(features, decoded, mask)  # type: ignore[misc, no-any-return]
