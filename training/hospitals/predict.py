"""Predict the scans that a run has left out, and write the raw outputs: presence decisions, class logit and mask probability.

    python training/hospitals/predict.py PACKED.npz RUN --leave-out bus-uclm --fold 0 --sizes 192 --mirrored

Thresholds, temperatures and weights of decisions are chosen on these files, so that nothing is predicted twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pack import CLASSES, HOSPITALS, Packed
from safetensors.torch import load_file
from train import DECODER, ENCODER, choose, notes_of

import bcdseg
from bcdseg import Preprocessing
from bcdseg.inference.refinement import RefinedRegion, refined_region
from bcdseg.inference.regions import RegionOutput, WholeRegion
from bcdseg.networks.network import Network
from bcdseg.runtimes.base import RawOutput

BATCH = 8
REFINEMENT = 1.6


@dataclass(frozen=True)
class Outputs:
    """Raw outputs of one network on scans that it was not trained on.

    Attributes:
        rows: Rows of the packed scans.
        decisions: Scans x (evidence, context, malignant against benign), as logits.
        second: Decisions of the second pass, which refines the main outline; those of the first pass where there is none.
        masks: Probability of a lesion over the packed square, from 0 to 255.
    """

    rows: NDArray[np.int64]
    decisions: NDArray[np.float32]
    second: NDArray[np.float32]
    masks: NDArray[np.uint8]

    def select(self, chosen: NDArray[np.bool_]) -> Outputs:
        """Return the outputs of some scans."""
        return Outputs(**{name: value[chosen] for name, value in vars(self).items()})

    @classmethod
    def load(cls, path: Path) -> Outputs:
        """Read a file of outputs."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files})

    def save(self, path: Path) -> None:
        """Write one file."""
        np.savez(path, **vars(self))


def load_network(path: Path) -> Network:
    """Build the network of the recipe and fill it with trained weights."""
    encoder = notes_of(path).get("encoder", ENCODER)
    state = load_file(path)
    narrow = state["decoder.blocks.0.conv1.0.weight"].shape[0] == DECODER[0]
    model = bcdseg.create(
        encoder, classes=CLASSES, head="hierarchical", decoder_channels=DECODER if narrow else None, size=160, device="cpu"
    )
    network = model.network
    assert isinstance(network, Network)
    network.load_state_dict(state)
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def outputs(
    network: Network,
    packed: Packed,
    rows: NDArray[np.int64],
    size: int,
    *,
    mirrored: bool,
    resize: str = "fit",
    refinement: float | None = None,
    softmax: bool = False,
) -> Outputs:
    """Run the network on each scan, cut out of its square and preprocessed as at prediction."""
    preprocessing = Preprocessing(size=(size, size), resize=resize, channels=1)
    decisions, second = np.zeros((2, len(rows), 3), np.float32)
    masks = np.zeros((len(rows), packed.side, packed.side), np.uint8)
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        windows = [_window(packed.boxes[row]) for row in some]
        images = [packed.images[row][window] for row, window in zip(some, windows, strict=True)]
        regions = [WholeRegion(str(packed.ids[row]), image, preprocessing) for row, image in zip(some, images, strict=True)]
        decided = _run(network, regions, mirrored=mirrored, softmax=softmax)
        results = [region.result() for region in regions]
        decisions[start : start + BATCH] = second[start : start + BATCH] = decided
        if refinement is not None:
            again = _windows(regions, results, refinement, preprocessing)
            if again:
                second[start + np.array(list(again))] = _run(network, list(again.values()), mirrored=mirrored, softmax=softmax)
            results = [again.get(index, region).result() for index, region in enumerate(regions)]
        for offset, (result, window) in enumerate(zip(results, windows, strict=True)):
            assert result.probability is not None
            masks[start + offset][window] = np.round(result.probability * 255)
    return Outputs(rows, decisions, second, masks)


@torch.inference_mode()
def _run(network: Network, regions: Sequence[WholeRegion], *, mirrored: bool, softmax: bool = False) -> NDArray[np.float32]:
    """Add the output of the network to each region, and return the decisions; a softmax decides on presence alone."""
    images = torch.from_numpy(np.stack([region.input(0) for region in regions]))
    images = images.flip(-1) if mirrored else images
    features = network.encoder(images.contiguous(memory_format=torch.channels_last))
    decoded = network.decoder(features)  # type: ignore[misc]
    logits = network.mask_head(decoded)  # type: ignore[misc]
    decided = network.class_head.decide(features, decoded, logits)  # type: ignore[union-attr, operator]
    probability = torch.sigmoid(logits[:, 0])
    for region, mask in zip(regions, probability.flip(-1) if mirrored else probability, strict=True):
        region.add(RawOutput(mask.numpy(), None))
    malignant = decided.lesion_classes[:, 1:] - decided.lesion_classes[:, :1]
    evidence, context = decided.evidence, decided.context
    if softmax:  # its first logit is that of normal
        evidence = context = decided.lesion_classes.logsumexp(dim=1, keepdim=True) - decided.context
    decisions: NDArray[np.float32] = torch.cat([evidence, context, malignant], dim=1).numpy()
    return decisions


def _windows(
    regions: Sequence[WholeRegion], first: Sequence[RegionOutput], refinement: float, preprocessing: Preprocessing
) -> dict[int, RefinedRegion]:
    """Return the windows of the second pass by the index of their region, as the library chooses them."""
    found = (refined_region(*pair, refinement, preprocessing) for pair in zip(regions, first, strict=True))
    return {index: window for index, window in enumerate(found) if window is not None}


def _window(box: NDArray[np.int64]) -> tuple[slice, slice]:
    return slice(int(box[0]), int(box[2])), slice(int(box[1]), int(box[3]))


def file_of(run: Path, size: int, mirrored: bool, resize: str = "fit", *, one_pass: bool = False) -> Path:
    """Return the path of the outputs at a size."""
    parts = ["-mirrored"] * mirrored + ["-" + resize] * (resize != "fit") + ["-one-pass"] * one_pass
    return run / f"outputs-{size}{''.join(parts)}.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--leave-out", choices=HOSPITALS)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--sizes", type=int, nargs="+", default=[192])
    parser.add_argument("--mirrored", action="store_true", help="also mirrored left to right")
    parser.add_argument("--resize", default="fit", choices=["fit", "stretch"])
    parser.add_argument("--one-pass", action="store_true", help="without refining the main outline")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    packed = Packed.load(options.packed)
    seen = choose(packed, options.leave_out, options.fold, release=False)
    rows = np.setdiff1d(np.arange(len(packed)), seen)
    path = options.run / "network.safetensors"
    network, softmax = load_network(path), notes_of(path).get("softmax") == "True"
    for size in options.sizes:
        for mirrored in [False, True][: 1 + options.mirrored]:
            refinement = None if options.one_pass else REFINEMENT
            found = outputs(
                network,
                packed,
                rows,
                size,
                mirrored=mirrored,
                resize=options.resize,
                refinement=refinement,
                softmax=softmax,
            )
            found.save(file_of(options.run, size, mirrored, options.resize, one_pass=options.one_pass))


if __name__ == "__main__":
    main()
