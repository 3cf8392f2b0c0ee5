"""Write the bundled model ``bus-multi``: the network trained on all hospitals, with rules and a card from left-out hospitals.

    python training/hospitals/release.py PACKED.npz RUNS BUSI_NATIVE BUS_BRA BUS_UCLM bcdseg/model/weights/bus-multi

``RUNS`` contains ``release`` (``train.py --release --fold 0``) and the left-out runs that ``choose_rules.py`` reads.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from choose_rules import SIZE, Unseen, fit, measured, read
from figures import Rules as Chosen
from figures import table
from numpy.typing import NDArray
from pack import CLASSES, HOSPITALS, Packed, open_hospital
from predict import REFINEMENT, load_network

import bcdseg
from bcdseg import Dataset, Model, OperatingPoint, Preprocessing, Rules
from bcdseg.evaluation.calibrate import fit_rules
from bcdseg.evaluation.metrics.classification import steps
from bcdseg.evaluation.training_overlap import remember_scans
from bcdseg.inference.out_of_distribution import describe_training_images
from bcdseg.networks.network import Network
from bcdseg.training.config import from_toml

TEXT = Path(__file__).parent / "card.toml"
FOLD = 0  # of the groups: not trained on, so that the released network itself can be measured
POINTS = (("sensitivity", 0.90), ("sensitivity", 0.95), ("specificity", 0.90))


@torch.no_grad()
def calibrated(network: Network, chosen: Chosen) -> Network:
    """Write presence weights and the calibration of the class into the last layers, so that the outputs are calibrated."""
    head: Any = network.class_head
    head.presence.weight.copy_(torch.tensor([[chosen.evidence, chosen.context]]))
    head.presence.bias.fill_(chosen.bias)
    last = head.guided.linear
    last.weight[1:] *= chosen.scale
    last.bias[1:] *= chosen.scale
    last.bias[2] += chosen.shift
    return network


def rules(packed: Packed, sets: list[Unseen], chosen: Chosen) -> Rules:
    """Return thresholds and operating points from the predictions for left-out hospitals."""
    rows = np.concatenate([one.outputs.rows for one in sets if one.left_out])
    probabilities = chosen.classes(np.concatenate([one.outputs.decisions for one in sets if one.left_out]).astype(np.float64))
    labels = packed.labels[rows]
    fitted = fit_rules(np.log(probabilities + 1e-12), labels)
    return Rules(
        threshold=chosen.mask_threshold,
        presence_threshold=round(chosen.presence_threshold, 4),
        min_lesion_share=chosen.min_area,
        refinement=REFINEMENT,
        min_confidence=fitted["min_confidence"],
        operating_points=tuple(_point(kind, share, probabilities[:, 2], labels == 2) for kind, share in POINTS),
    )


def _point(kind: str, share: float, score: Any, truth: Any) -> OperatingPoint:
    at = steps(truth, score)
    reached = at.sensitivity[0] if kind == "sensitivity" else at.specificity[0]
    enough = np.flatnonzero(reached >= share)
    place = int(enough[0] if kind == "sensitivity" else enough[-1])
    return OperatingPoint(
        name=f"{kind} {share:g}",
        positive="malignant",
        threshold=float(np.clip(at.thresholds[place], 0, 1)),
        sensitivity=float(at.sensitivity[0, place]),
        specificity=float(at.specificity[0, place]),
        scans=len(truth),
    )


def training_parts(packed: Packed, folders: dict[str, Path]) -> list[Dataset]:
    """Return the scans of each hospital that the released network was trained on."""
    seen_ids = set(packed.ids[_trained_on(packed)].tolist())
    parts = {name: open_hospital(name, folder)[0] for name, folder in folders.items()}
    return [part.select([one.id for one in part if f"{name}/{one.id}" in seen_ids]) for name, part in parts.items()]


def _trained_on(packed: Packed) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = ~packed.shown & (packed.folds != FOLD)
    return chosen


def card(packed: Packed, sets: list[Unseen], parts: list[Dataset]) -> dict[str, Any]:
    """Return the content of the card: text, figures, and fingerprints of the training scans."""
    written: dict[str, Any] = from_toml(TEXT.read_text(encoding="utf-8"))
    kept = _trained_on(packed)
    counts = {name: int((kept & (packed.hospitals == number)).sum()) for number, name in enumerate(("busi", "bra", "uclm"))}
    written["data"] = written["data"].format(scans=int(kept.sum()), **counts)
    shown = [one.name for one in sets if one.left_out or one.run == "release"]
    written["figures"] = "\n" + table(
        {name: some for name, some in measured(packed, sets).items() if name in shown}, intervals=True
    )
    return {**written, "seen": remember_scans(*parts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("runs", type=Path)
    for name in HOSPITALS:
        parser.add_argument(name.replace("-", "_"), type=Path, help=f"the folder of {name}, at native size")
    parser.add_argument("out", type=Path, help="the model's folder")
    options = parser.parse_args()
    packed = Packed.load(options.packed)
    sets = read(packed, options.runs)
    chosen = fit(packed, sets)
    folders = {name: getattr(options, name.replace("-", "_")) for name in HOSPITALS}
    parts = training_parts(packed, folders)
    written = card(packed, sets, parts)
    network = calibrated(load_network(options.runs / "release" / "network.safetensors"), chosen)
    preprocessing = Preprocessing(size=(SIZE, SIZE), resize="fit", channels=1)
    assert tuple(network.config.classes) == CLASSES
    decided = replace(rules(packed, sets, chosen), training_images=describe_training_images(*parts))
    model = Model(network, preprocessing, decided, training=written, name=str(written["name"]))
    model.save(options.out, half=True, overwrite=True)
    print(bcdseg.load(options.out).card)


if __name__ == "__main__":
    main()
