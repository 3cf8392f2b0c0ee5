"""Compare two runs on the scans that both have left out: the change of each measure, by hospital, with intervals over patients.

    python training/hospitals/differences.py PACKED.npz RUNS/loho-bus-uclm RUNS/means/loho-bus-uclm
    python training/hospitals/differences.py PACKED.npz RUNS/one RUNS/one+RUNS/other     # the mean of the outputs of two runs
    python training/hospitals/differences.py PACKED.npz RUNS/one RUNS/one --second-pass 0.33     # the class of both passes

Both runs contain the outputs of ``predict.py``. Every outline counts as a finding, and no rule is fitted, so that the networks
alone differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from choose_rules import MASK_THRESHOLD, SIZE
from figures import Cases, Rules, by_hospital, cases, difference, lesion_dice, malignant_auc, missed, presence_auc
from pack import Packed
from predict import Outputs, file_of

MEASURES = {"Dice": lesion_dice, "missed": missed, "presence AUC": presence_auc, "malignant/benign AUC": malignant_auc}
RULES = Rules(mask_threshold=MASK_THRESHOLD, presence_threshold=0.0)


def results(packed: Packed, runs: str, size: int, one_pass: bool, second: float = 0.0) -> Cases:
    """Return the results of a run, or of the mean of the outputs of several.

    Args:
        packed: The packed scans.
        runs: Folders of runs, with ``+`` between them.
        size: Size of the input.
        one_pass: Whether the outlines are not refined.
        second: Weight of the second pass in the mean of the decisions.
    """
    found = [Outputs.load(file_of(Path(run), size, mirrored=False, one_pass=one_pass)) for run in runs.split("+")]
    decisions = np.mean([(1 - second) * one.decisions.astype(np.float64) + second * one.second for one in found], axis=0)
    masks = (sum(one.masks.astype(np.uint16) for one in found) // len(found)).astype(np.uint8)
    return cases(packed, found[0].rows, decisions, masks, RULES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("before", metavar="RUN")
    parser.add_argument("after", metavar="RUN[+RUN]", nargs="+")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--one-pass", action="store_true", help="without refining the main outline")
    parser.add_argument(
        "--second-pass", type=float, default=0.0, help="weight of the second pass in the decisions of the runs after the first"
    )
    options = parser.parse_args()
    packed = Packed.load(options.packed)
    weights = [0.0] + [options.second_pass] * len(options.after)
    before, *others = (
        by_hospital(results(packed, run, options.size, options.one_pass, weight))
        for run, weight in zip((options.before, *options.after), weights, strict=True)
    )
    print("| hospital | measure | before | " + " | ".join(str(run) for run in options.after) + " |")
    print("|---" * (3 + len(others)) + "|")
    for hospital, old in before.items():
        for name, measure in MEASURES.items():
            changes = (f"{measure(new[hospital]):.3f}, {difference(old, new[hospital], measure)}" for new in others)
            print(f"| {hospital} | {name} | {measure(old):.3f} | " + " | ".join(changes) + " |")


if __name__ == "__main__":
    main()
