"""Train one network a fold, each blind to its own test part: what they say there is what a report may be made of.

    python training/cross_validate.py BUSI256 WORK --encoder tu-tf_efficientnet_lite0 --weights imagenet

A stopped run resumes. Several processes or machines may share the folds: ``--folds 0 1`` here, ``--folds 2 3 4`` there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from options import parser_for_one
from recipe import train
from scans import FOLDS, Scans, open_scans


def cross_validate(
    scans: Scans, encoder: str, weights: str | None, folder: Path, folds: Sequence[int] = range(FOLDS), precision: str = "auto"
) -> None:
    """One network a fold, in ``folder/fold-0`` and on."""
    for number in folds:
        learned_from, chosen_by, _ = scans.fold(number)
        train(encoder, weights, (learned_from, chosen_by), folder / f"fold-{number}", seed=number, precision=precision)


def main() -> None:
    asked = parser_for_one(__doc__)
    asked.add_argument("--weights", help="'imagenet', or nothing for an encoder that starts from random weights")
    asked.add_argument("--folds", type=int, nargs="*", default=range(FOLDS), help="which of them, by default all")
    asked.add_argument("--precision", default="auto", help="bf16 is faster on some CPUs, for encoders without depthwise layers")
    options = asked.parse_args()
    folder = options.work / options.encoder
    cross_validate(open_scans(options.data), options.encoder, options.weights, folder, options.folds, options.precision)


if __name__ == "__main__":
    main()
