"""Measure the networks of ``cross_validate.py``: each scan is answered by the one that has never seen it or a copy of it.

The temperature of each is fitted on what the others say of the scans that they are blind to.

    python training/out_of_fold.py BUSI256 WORK --encoder tu-tf_efficientnet_lite0 --native BUSI_NATIVE

Writes ``WORK/ENCODER/report`` (``report.html``, ``report.md``, ``report.json``) and the same of the scans at their own size,
``WORK/ENCODER/report-native``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibration import calibrated_by_others
from options import parser_for_one
from recipe import MODEL
from scans import FOLDS, Scans, open_scans

import bcdseg
from bcdseg import Dataset, Evaluation, Model
from bcdseg.evaluation.external_predictions import ExternalPrediction

REPORT, REPORT_NATIVE = "report", "report-native"


def networks(folder: Path, folds: Sequence[int] = range(FOLDS), *, part: str = MODEL) -> dict[int, Model]:
    """One a fold, or a part of what was made on the way to it."""
    return {number: bcdseg.load(folder / f"fold-{number}" / part, runtime="torch") for number in folds}


def measure(
    scans: Scans, folder: Path, out: Path, *, drawn_from: Dataset | None = None, folds: Sequence[int] = range(FOLDS)
) -> Evaluation:
    """The folds' answers as one, one scan of each group of copies.

    Args:
        scans: What the networks were trained on.
        folder: Where the networks are.
        out: For the report.
        drawn_from: The same scans in other files, to be measured instead, those that are there.
        folds: Those that are measured.
    """
    source = scans.all if drawn_from is None else drawn_from
    given: dict[str, ExternalPrediction] = {}
    for number, model in calibrated_by_others(scans, networks(folder, folds)).items():
        ids = [name for name in scans.fold(number)[2].ids if name in source]
        found = model.predict([source[name].image for name in ids])
        given |= {name: ExternalPrediction(one.mask, one.probabilities) for name, one in zip(ids, found, strict=True)}
    return bcdseg.evaluate_predictions(given, source.select(list(given)), name=folder.name, out=out, overwrite=True)


def main() -> None:
    asked = parser_for_one(__doc__)
    asked.add_argument("--native", type=Path, help="the same scans at their own size")
    options = asked.parse_args()
    scans, folder = open_scans(options.data), options.work / options.encoder
    print(measure(scans, folder, folder / REPORT))
    if options.native:
        print(measure(scans, folder, folder / REPORT_NATIVE, drawn_from=bcdseg.open_dataset(options.native)))


if __name__ == "__main__":
    main()
