"""Predict what a run has left out, and keep the raw outputs: both presence decisions, the lesion's class, the mask's probability.

    python training/hospitals/predict.py PACKED.npz RUN --leave-out bus-uclm --fold 0 --sizes 192 --mirrored

Thresholds, temperatures and weights of decisions are chosen on these files, so that nothing is predicted twice.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pack import CLASSES, HOSPITALS, SIDE, Packed
from safetensors import safe_open
from safetensors.torch import load_file
from train import DECODER, ENCODER, choose

import bcdseg
from bcdseg import Preprocessing
from bcdseg.networks.network import Network

BATCH = 8


@dataclass(frozen=True)
class Outputs:
    """Raw outputs of one network on scans that it has not seen.

    Attributes:
        rows: Of the packed scans.
        decisions: Scans x (evidence, context, malignant against benign), as logits.
        masks: Probability of a lesion over the packed square, from 0 to 255.
    """

    rows: NDArray[np.int64]
    decisions: NDArray[np.float32]
    masks: NDArray[np.uint8]

    @classmethod
    def load(cls, path: Path) -> Outputs:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files})

    def save(self, path: Path) -> None:
        """Write one file."""
        np.savez(path, **vars(self))


def load_network(path: Path) -> Network:
    """Build the network of the recipe and fill it with trained weights."""
    with safe_open(path, framework="pt") as file:
        encoder = (file.metadata() or {}).get("encoder", ENCODER)
    state = load_file(path)
    narrow = state["decoder.blocks.0.conv1.0.weight"].shape[0] == DECODER[0]
    model = bcdseg.create(
        encoder, classes=CLASSES, head="hierarchical", decoder_channels=DECODER if narrow else None, size=160, device="cpu"
    )
    network = model.network
    assert isinstance(network, Network)
    network.load_state_dict(state)
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.inference_mode()
def outputs(
    network: Network, packed: Packed, rows: NDArray[np.int64], size: int, *, mirrored: bool, resize: str = "fit"
) -> Outputs:
    """Run the network on each scan, cut out of its square and preprocessed as at prediction."""
    preprocessing = Preprocessing(size=(size, size), resize=resize, channels=1)
    decisions = np.zeros((len(rows), 3), np.float32)
    masks = np.zeros((len(rows), SIDE, SIDE), np.uint8)
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        boxes = [packed.boxes[row] for row in some]
        prepared = [preprocessing(packed.images[row][_window(box)]) for row, box in zip(some, boxes, strict=True)]
        images = torch.from_numpy(np.stack([one.array for one in prepared]))
        images = images.flip(-1) if mirrored else images
        features = network.encoder(images.contiguous(memory_format=torch.channels_last))
        decoded = network.decoder(features)  # type: ignore[misc]
        logits = network.mask_head(decoded)  # type: ignore[misc]
        decided = network.class_head.decide(features, decoded, logits)  # type: ignore[union-attr, operator]
        malignant = decided.lesion_classes[:, 1:] - decided.lesion_classes[:, :1]
        decisions[start : start + BATCH] = torch.cat([decided.evidence, decided.context, malignant], dim=1).numpy()
        probability = torch.sigmoid(logits[:, 0])
        probability = probability.flip(-1) if mirrored else probability
        for offset, (one, box) in enumerate(zip(prepared, boxes, strict=True)):
            restored = one.placement.restore(probability[offset].numpy())
            masks[start + offset][_window(box)] = np.round(restored * 255)
    return Outputs(rows, decisions, masks)


def _window(box: NDArray[np.int64]) -> tuple[slice, slice]:
    return slice(int(box[0]), int(box[2])), slice(int(box[1]), int(box[3]))


def file_of(run: Path, size: int, mirrored: bool, resize: str = "fit") -> Path:
    """Where the outputs at a size are kept."""
    return run / f"outputs-{size}{'-mirrored' if mirrored else ''}{'' if resize == 'fit' else '-' + resize}.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--leave-out", choices=HOSPITALS)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--sizes", type=int, nargs="+", default=[192])
    parser.add_argument("--mirrored", action="store_true", help="also mirrored left to right")
    parser.add_argument("--resize", default="fit", choices=["fit", "stretch"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    packed = Packed.load(options.packed)
    seen = choose(packed, options.leave_out, options.fold, release=False)
    rows = np.setdiff1d(np.arange(len(packed)), seen)
    network = load_network(options.run / "network.safetensors")
    for size in options.sizes:
        for mirrored in [False, True][: 1 + options.mirrored]:
            found = outputs(network, packed, rows, size, mirrored=mirrored, resize=options.resize)
            found.save(file_of(options.run, size, mirrored, options.resize))


if __name__ == "__main__":
    main()
