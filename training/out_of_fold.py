"""Measure the networks of ``cross_validate.py``: each scan is predicted by the one that was not trained on it or a copy of it.

The temperature of each network is fitted to the results of the others on their test parts.

    python training/out_of_fold.py BUSI256 WORK --encoder tu-tf_efficientnet_lite0 --native BUSI_NATIVE

The script writes ``WORK/ENCODER/report`` (``report.html``, ``report.md``, ``report.json``), and for the scans at their own size
``WORK/ENCODER/report-native``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibration import calibrated_by_other_folds
from options import encoder_parser
from recipe import MODEL
from scans import FOLDS, Scans, open_scans

import bcdseg
from bcdseg import Dataset, Evaluation, Model
from bcdseg.evaluation.external_predictions import ExternalPrediction

REPORT, REPORT_NATIVE = "report", "report-native"


def networks(folder: Path, folds: Sequence[int] = range(FOLDS), *, part: str = MODEL) -> dict[int, Model]:
    """Load the network of each fold, or that of an earlier stage by the name of its folder."""
    return {number: bcdseg.load(folder / f"fold-{number}" / part, runtime="torch") for number in folds}


def measure(
    scans: Scans, folder: Path, out: Path, *, drawn_from: Dataset | None = None, folds: Sequence[int] = range(FOLDS)
) -> Evaluation:
    """Evaluate the predictions of all folds together, with one scan of each group of copies.

    Args:
        scans: Scans that the networks were trained on.
        folder: Folder of the networks.
        out: Folder of the report.
        drawn_from: The same scans, or some of them, in other files, which are measured instead.
        folds: Numbers of the folds that are measured.
    """
    source = scans.all if drawn_from is None else drawn_from
    predictions: dict[str, ExternalPrediction] = {}
    for number, model in calibrated_by_other_folds(scans, networks(folder, folds)).items():
        ids = [name for name in scans.fold(number)[2].ids if name in source]
        found = model.predict([source[name].image for name in ids])
        predictions |= {name: ExternalPrediction(one.mask, one.probabilities) for name, one in zip(ids, found, strict=True)}
    return bcdseg.evaluate_predictions(predictions, source.select(list(predictions)), name=folder.name, out=out, overwrite=True)


def main() -> None:
    parser = encoder_parser(__doc__)
    parser.add_argument("--native", type=Path, help="the same scans at their own size")
    options = parser.parse_args()
    scans, folder = open_scans(options.data), options.work / options.encoder
    print(measure(scans, folder, folder / REPORT))
    if options.native:
        print(measure(scans, folder, folder / REPORT_NATIVE, drawn_from=bcdseg.open_dataset(options.native)))


if __name__ == "__main__":
    main()
