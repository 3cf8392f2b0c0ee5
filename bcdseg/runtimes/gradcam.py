"""Grad-CAM heat maps of a class.

A heat map is a hint at what raised a class's score, at the coarse grid of the network's deepest features. It is no outline, no
proof that the model looked at the right thing, and no evidence about the patient: maps of a wrong answer look as convincing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.networks.ensemble import AnyNetwork, Ensemble
from bcdseg.networks.network import Network

if TYPE_CHECKING:
    pass


def class_heat(network: AnyNetwork, image: Tensor, class_index: int) -> NDArray[np.float32]:
    """MONAI's Grad-CAM of one class for one preprocessed scan, over the network's input; from 0 to 1.

    The encoder runs without gradients; they are followed from the class score back to its deepest features only.
    That of an ensemble is the mean of its members'.

    Args:
        network: In evaluation mode.
        image: 1 x channels x height x width, on the network's device.
        class_index: The class that is asked about.
    """
    if isinstance(network, Ensemble):
        parts = [(member, normalised) for facts, member, normalised in network.each(image) if facts.network.head is not None]
        return to_unit(np.mean([class_heat(member, normalised, class_index) for member, normalised in parts], axis=0))
    from monai.visualize import GradCAM  # imports for seconds, so only when asked for

    with torch.no_grad():
        *others, deepest = network.encoder(image)

    def to_input(_: Any) -> Any:
        return lambda heat: F.interpolate(heat, size=image.shape[-2:], mode="bilinear", align_corners=False)

    cam = GradCAM(_AfterEncoder(network), "deepest", upsampler=to_input, postprocessing=lambda heat: heat)
    heat = cam(deepest.clone().requires_grad_(), class_idx=class_index, others=others)
    return to_unit(np.asarray(heat[0, 0].detach().cpu().float()))


class _AfterEncoder(nn.Module):
    """The part of a network that gradients are needed of; scans side by side share the layers and not the hooks."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.deepest = nn.Identity()
        self.network = network
        self.eval()

    def forward(self, deepest: Tensor, others: list[Tensor]) -> Tensor:
        features = [*others, self.deepest(deepest).clone()]  # layers that write in place mustn't write into what is hooked
        network, decoded, mask = self.network, None, None
        if network.decoder is not None and network.mask_head is not None:
            decoded = network.decoder(features)
            mask = network.mask_head(decoded)
        return network.class_head(features, decoded, mask)  # type: ignore[misc, no-any-return]


def to_unit(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same map with its highest value at 1; nothing anywhere stays nothing."""
    top = float(heat.max())
    return np.clip(heat / top, 0, 1).astype(np.float32) if top > 0 else np.zeros_like(heat, np.float32)
