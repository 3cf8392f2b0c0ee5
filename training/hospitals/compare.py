"""Compare bundled models, through the public API, on patients that they were not trained on.

    python training/hospitals/compare.py BUSI_NATIVE BUS_BRA BUS_UCLM --models busi-lite bus-multi

The patients are those of the fold that ``bus-multi`` was not trained on. A model is measured on a hospital only if it was trained
on none of these scans; ``busi-lite`` was trained on those of BUSI.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from choose_rules import trade_off
from figures import Cases, Rules, table
from pack import CLASSES, FOLDS, HOSPITALS, open_hospital

import bcdseg
from bcdseg import Dataset, Model
from bcdseg.data.masks import dice

FOLD = 0


def cases(model: Model, data: Dataset, hospital: int) -> Cases:
    """Predict every scan at its own size and compare it with the truth."""
    rows = []
    groups = {name: number for number, name in enumerate(sorted({one.group or one.id for one in data}))}
    for sample, found in zip(data, model.predict([one.image for one in data]), strict=True):
        truth = data.read(sample)[1]
        outlined = found.mask if found.candidate_mask is None else found.candidate_mask
        assert outlined is not None
        truth = np.zeros_like(outlined) if truth is None else truth
        rows.append(
            (
                CLASSES.index(str(sample.label)),
                groups[sample.group or sample.id],
                dice(truth, outlined),
                bool(outlined.any()),
                tuple(found.probabilities.values()),
            )
        )
    label, group, overlaps, outlined, classes = (np.array(column) for column in zip(*rows, strict=True))
    threshold = model.rules.presence_threshold or 0.0
    return Cases(np.full(len(label), hospital), label, group, overlaps, outlined, classes, Rules(presence_threshold=threshold))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in HOSPITALS:
        parser.add_argument(name.replace("-", "_"), type=Path, help=f"the folder of {name}, at native size")
    parser.add_argument("--models", nargs="+", default=["busi-lite", "bus-multi"])
    parser.add_argument("--trade-off", action="store_true", help="also print missed and false lesions at each presence threshold")
    options = parser.parse_args()
    found = {}
    models = {name: bcdseg.load(name, runtime="torch") for name in options.models}
    for number, hospital in enumerate(HOSPITALS):
        data, _ = open_hospital(hospital, getattr(options, hospital.replace("-", "_")))
        _, test = bcdseg.folds(data, FOLDS, duplicates=())[FOLD]
        for name, model in models.items():
            if len(bcdseg.exclude_training_samples(model, test)) == len(test):
                found[f"{hospital}, {name}"] = cases(model, test, number)
    print(table(found, intervals=True))
    for name, some in found.items() if options.trade_off else ():
        print(f"\n{name}\n{trade_off(some)}")


if __name__ == "__main__":
    main()
