"""Measure how well the hospital alone predicts the class: the figures of a classifier that uses nothing else of a scan.

    python training/hospitals/shortcut.py PACKED.npz

Each scan of the held-out fold gets the class frequencies of its hospital's other folds. Figures over all hospitals that are close
to these show a shortcut, not skill; within one hospital the AUC of such a classifier is 0.5.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figures import Cases, Rules, accuracy, interval, malignant_auc, malignant_rest_auc, presence_auc
from pack import CLASSES, HOSPITALS, Packed

FOLD = 0
SHOWN = {
    "accuracy": accuracy,
    "presence AUC": presence_auc,
    "malignant/benign AUC": malignant_auc,
    "malignant/rest AUC": malignant_rest_auc,
}


def hospital_only(packed: Packed) -> Cases:
    """Return the predictions of class frequencies by hospital, for the held-out fold."""
    test = packed.folds == FOLD
    frequencies = np.zeros((len(HOSPITALS), len(CLASSES)))
    for hospital in range(len(HOSPITALS)):
        labels = packed.labels[~test & (packed.hospitals == hospital)]
        frequencies[hospital] = np.bincount(labels, minlength=len(CLASSES)) / len(labels)
    count = int(test.sum())
    return Cases(
        hospital=packed.hospitals[test],
        label=packed.labels[test],
        group=packed.groups[test],
        dice=np.zeros(count),
        outlined=np.zeros(count, bool),
        classes=frequencies[packed.hospitals[test]],
        rules=Rules(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    predicted = hospital_only(Packed.load(parser.parse_args().packed))
    print("| all hospitals together | the hospital alone |\n|---|---|")
    for name, measure in SHOWN.items():
        print("| {} | {:.3f} ({:.3f} to {:.3f}) |".format(name, *interval(predicted, measure)))


if __name__ == "__main__":
    main()
