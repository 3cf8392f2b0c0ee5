"""Print the effect of the refinement on lesions that a network was not trained on.

    python training/hospitals/predict.py PACKED.npz RUN --leave-out bus-bra --fold 0 --sizes 160
    python training/hospitals/predict.py PACKED.npz RUN --leave-out bus-bra --fold 0 --sizes 160 --one-pass
    python training/hospitals/refinement.py PACKED.npz RUN

Every outline counts, shown or not. The intervals are 95 % normal intervals over scans.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from choose_rules import MASK_THRESHOLD, SIZE
from figures import MISSED, Rules, outline
from pack import HOSPITALS, Packed
from predict import Outputs, file_of

from bcdseg.data.masks import dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("run", type=Path)
    options = parser.parse_args()
    packed, rules = Packed.load(options.packed), Rules(mask_threshold=MASK_THRESHOLD)
    passes = [Outputs.load(file_of(options.run, SIZE, mirrored=False, one_pass=one_pass)) for one_pass in (True, False)]
    for number, hospital in enumerate(HOSPITALS):
        rows = passes[0].rows
        chosen = np.flatnonzero((packed.hospitals[rows] == number) & (packed.labels[rows] > 0))
        if not len(chosen):
            continue
        one, two = (np.array([dice(packed.masks[rows[at]], outline(found.masks[at], rules)) for at in chosen]) for found in passes)
        change, error = (two - one).mean(), 1.96 * (two - one).std() / np.sqrt(len(chosen))
        low, high = change - error, change + error
        missed = " to ".join(f"{(some < MISSED).mean():.3f}" for some in (one, two))
        print(
            f"{hospital}, {len(chosen)} lesions: Dice {one.mean():.3f}, {change:+.3f} ({low:+.3f} to {high:+.3f}), missed {missed}"
        )


if __name__ == "__main__":
    main()
