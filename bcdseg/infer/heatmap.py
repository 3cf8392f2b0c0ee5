"""Where in a scan the class head looked: Grad-CAM.

A heat map is a hint at what raised a class's score, at the coarse grid of the network's deepest features. It is no outline, no
proof that the model looked at the right thing, and no evidence about the patient: maps of a wrong answer look as convincing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg.data.images import to_gray, to_uint8
from bcdseg.network.ensemble import AnyNetwork, Ensemble
from bcdseg.network.network import Network

if TYPE_CHECKING:
    from bcdseg.infer.prediction import Prediction

STRONGEST = 0.65  # of the colour over the scan
ANCHORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])  # of matplotlib's inferno


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


def draw_heat(prediction: Prediction) -> Image.Image:
    """The scan in gray with the heat map in colour over it: dark violet is low, yellow is high."""
    assert prediction.heatmap is not None
    gray = np.repeat(to_uint8(to_gray(prediction.image))[..., None], 3, axis=2)
    heat = prediction.heatmap
    places = np.linspace(0, 1, len(ANCHORS))
    colour = np.stack([np.interp(heat, places, channel) for channel in ANCHORS.T], axis=-1)
    strength = STRONGEST * np.sqrt(heat)[..., None]
    return Image.fromarray((gray * (1 - strength) + colour * strength).astype(np.uint8))
