"""Choose presence weights, calibration and thresholds on predictions for left-out hospitals.

    python training/hospitals/choose_rules.py PACKED.npz RUNS --size 192

``RUNS`` holds the folders ``loho-busi``, ``loho-bra`` and ``loho-uclm`` with the outputs of ``predict.py``; those that are there
are used. Rules are fitted on the scans of the hospital that each network has never seen, and on nothing else. When the rules of one
hospital are measured, they are fitted on the others (where there are any), so that the figures are honest.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from figures import Cases, Rules, cases, false_lesions, lesion_dice, missed, table
from numpy.typing import NDArray
from pack import HOSPITALS, Packed
from predict import Outputs, file_of
from sklearn.linear_model import LogisticRegression

RUNS = {"busi": "loho-busi", "bus-bra": "loho-bra", "bus-uclm": "loho-uclm"}
LOST = 0.04  # fraction of left-out lesions whose outline the presence threshold may hide
MASK_THRESHOLD = 0.5


@dataclass(frozen=True)
class LeftOut:
    """Outputs of a network on a hospital that it has not seen.

    Attributes:
        hospital: Its name.
        outputs: Of the scans of this hospital.
        known: Of the fold of the other hospitals that the network has not seen either.
    """

    hospital: str
    outputs: Outputs
    known: Outputs


def read(packed: Packed, runs: Path, size: int, *, mirrored: bool = False) -> list[LeftOut]:
    """Read the outputs that are there."""
    found = []
    for number, hospital in enumerate(HOSPITALS):
        path = file_of(runs / RUNS[hospital], size, mirrored)
        if path.exists():
            every = Outputs.load(path)
            unseen = packed.hospitals[every.rows] == number
            found.append(LeftOut(hospital, _some(every, unseen), _some(every, ~unseen)))
    return found


def _some(every: Outputs, chosen: NDArray[np.bool_]) -> Outputs:
    return Outputs(every.rows[chosen], every.decisions[chosen], every.masks[chosen])


def fit(packed: Packed, left_out: list[LeftOut]) -> Rules:
    """Fit presence, class and threshold on left-out hospitals."""
    rows = np.concatenate([one.outputs.rows for one in left_out])
    decisions = np.concatenate([one.outputs.decisions for one in left_out]).astype(np.float64)
    labels, hospitals = packed.labels[rows], packed.hospitals[rows]
    rules = replace(_presence(decisions, labels, hospitals), mask_threshold=MASK_THRESHOLD)
    rules = _malignant(rules, decisions, labels)
    there = np.sort(rules.presence(decisions)[labels > 0])
    return replace(rules, presence_threshold=float(np.clip(there[int(LOST * len(there))], 0.02, 0.5)))


def _presence(decisions: NDArray[np.float64], labels: NDArray[np.int64], hospitals: NDArray[np.int64]) -> Rules:
    """Weights of the two presence decisions, from the hospitals that have normal scans; equal ones where none has."""
    both = np.isin(hospitals, np.unique(hospitals[labels == 0]))
    if not both.any():
        return Rules()
    fitted = LogisticRegression(C=10.0).fit(decisions[both, :2], labels[both] > 0)
    evidence, context = np.maximum(fitted.coef_[0], 0)
    return Rules(evidence=float(evidence), context=float(context), bias=float(fitted.intercept_[0]))


def _malignant(rules: Rules, decisions: NDArray[np.float64], labels: NDArray[np.int64]) -> Rules:
    lesion = labels > 0
    fitted = LogisticRegression(C=10.0).fit(decisions[lesion, 2:], labels[lesion] == 2)
    return replace(rules, scale=float(fitted.coef_[0, 0]), shift=float(fitted.intercept_[0]))


def measured(packed: Packed, left_out: list[LeftOut]) -> dict[str, Cases]:
    """Each left-out hospital, by rules of the other left-out hospitals, and what is known of the seen ones."""
    found: dict[str, Cases] = {}
    for one in left_out:
        others = [other for other in left_out if other is not one]
        rules = fit(packed, others or [one])
        outputs = one.outputs
        found[f"{one.hospital}, left out"] = cases(packed, outputs.rows, outputs.decisions.astype(np.float64), outputs.masks, rules)
    rules = fit(packed, left_out)
    for number, hospital in enumerate(HOSPITALS):
        for one in left_out:
            chosen = packed.hospitals[one.known.rows] == number
            if chosen.any():
                some = _some(one.known, chosen)
                of = cases(packed, some.rows, some.decisions.astype(np.float64), some.masks, rules)
                found[f"{hospital}, other patients (without {one.hospital})"] = of
    return found


def trade_off(some: Cases, thresholds: NDArray[np.float64]) -> str:
    """Missed lesions against false ones at each presence threshold."""
    lines = ["| presence threshold | missed | false lesions | Dice |", "|---|---|---|---|"]
    for threshold in thresholds:
        at = replace(some, rules=replace(some.rules, presence_threshold=float(threshold)))
        cells = (threshold, missed(at), false_lesions(at), lesion_dice(at))
        lines.append("| " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--intervals", action="store_true")
    options = parser.parse_args()
    packed = Packed.load(options.packed)
    left_out = read(packed, options.runs, options.size)
    rules = fit(packed, left_out)
    print(asdict(rules), "\n")
    every = measured(packed, left_out)
    print(table(every, intervals=options.intervals))
    for name, some in every.items():
        if "left out" in name:
            print(f"\n{name}\n{trade_off(some, np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7]))}")


if __name__ == "__main__":
    main()
