"""Train one network per fold, each without its own test part, so that a report can be made of all test parts.

    python training/cross_validate.py BUSI256 WORK --encoder tu-tf_efficientnet_lite0 --weights imagenet

A stopped run resumes. Several processes or machines may share the folds: ``--folds 0 1`` here, ``--folds 2 3 4`` there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from options import encoder_parser
from recipe import train
from scans import FOLDS, Scans, open_scans


def cross_validate(
    scans: Scans, encoder: str, weights: str | None, folder: Path, folds: Sequence[int] = range(FOLDS), precision: str = "auto"
) -> None:
    """Train one network per fold, in ``folder/fold-0`` and so on."""
    for number in folds:
        train_part, val, _ = scans.fold(number)
        train(encoder, weights, (train_part, val), folder / f"fold-{number}", seed=number, precision=precision)


def main() -> None:
    parser = encoder_parser(__doc__)
    parser.add_argument("--weights", help="'imagenet', or nothing for an encoder that starts from random weights")
    parser.add_argument("--folds", type=int, nargs="*", default=range(FOLDS), help="numbers of the folds, by default all")
    parser.add_argument("--precision", default="auto", help="bf16 is faster on some CPUs, for encoders without depthwise layers")
    options = parser.parse_args()
    folder = options.work / options.encoder
    cross_validate(open_scans(options.data), options.encoder, options.weights, folder, options.folds, options.precision)


if __name__ == "__main__":
    main()
