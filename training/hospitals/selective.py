"""Print risk and coverage: the error rate that remains if the least certain scans are left to a reader.

    python training/hospitals/selective.py PACKED.npz RUNS

The scans of each set of ``choose_rules.py`` are ordered by their highest class probability. At a coverage of 0.8, the fifth with
the lowest probabilities is left to a reader. The area under the risk-coverage curve (AURC) is the mean error rate of the class over
all coverages; an order at random has the error rate itself.
The intervals are 95 % bootstrap intervals over patients or groups of copies.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from choose_rules import measured, read
from figures import Cases, Measure, calibration_error, candidate_dice, interval, malignant_auc, predicted
from numpy.typing import NDArray
from pack import Packed

COVERAGES = (1.0, 0.9, 0.8, 0.6, 0.4)
FLAGGED_FROM = 0.8  # coverage without the predictions of low confidence


def certain(some: Cases, coverage: float) -> Cases:
    """Return the most certain scans."""
    return some.select(_by_certainty(some)[: round(coverage * len(some.label))])


def _by_certainty(some: Cases) -> NDArray[np.int64]:
    return np.argsort(-some.classes.max(axis=1), kind="stable")


def confidence_threshold(every: dict[str, Cases]) -> float:
    """Return the confidence below which a fifth of the scans are, as the mean over sets."""
    return float(np.mean([np.quantile(some.classes.max(axis=1), 1 - FLAGGED_FROM) for some in every.values()]))


def error_rate(some: Cases) -> float:
    """Return the fraction of scans with a wrong class."""
    return float((predicted(some) != some.label).mean())


def aurc(some: Cases) -> float:
    """Return the mean error rate over all coverages."""
    wrong = (predicted(some) != some.label)[_by_certainty(some)]
    return float((wrong.cumsum() / np.arange(1, len(wrong) + 1)).mean())


RISKS: dict[str, Measure] = {
    "class error": error_rate,
    "malignant/benign AUC": malignant_auc,
    "Dice with candidates": candidate_dice,
    "ECE": calibration_error,
}


def _at(measure: Measure, coverage: float, some: Cases) -> float:
    return measure(certain(some, coverage))


def table(some: Cases) -> str:
    """Return a Markdown table with one row per coverage."""
    lines = ["| coverage | lowest probability | " + " | ".join(RISKS) + " |", "|---" * (len(RISKS) + 2) + "|"]
    for coverage in COVERAGES:
        least = certain(some, coverage).classes.max(axis=1).min()
        cells = [_cell(some, partial(_at, measure, coverage)) for measure in RISKS.values()]
        lines.append(f"| {coverage:g} | {least:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(every: dict[str, Cases]) -> str:
    """Return a Markdown table of the error rate at each coverage, with one row per set."""
    lines = ["| class error at a coverage of | " + " | ".join(f"{one:g}" for one in COVERAGES) + " | AURC |"]
    lines.append("|---" * (len(COVERAGES) + 2) + "|")
    for name, some in every.items():
        cells = [_cell(some, partial(_at, error_rate, coverage)) for coverage in COVERAGES]
        lines.append(f"| {name} | " + " | ".join([*cells, _cell(some, aurc)]) + " |")
    return "\n".join(lines)


def _cell(some: Cases, measure: Callable[[Cases], float]) -> str:
    value, low, high = interval(some, measure)
    return "-" if not np.isfinite(value) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("runs", type=Path)
    options = parser.parse_args()
    packed = Packed.load(options.packed)
    every = measured(packed, read(packed, options.runs))
    print(summary(every))
    left_out = {name: some for name, some in every.items() if name.endswith("left out")}
    print(f"\nconfidence threshold: {confidence_threshold(left_out or every):.3f}")
    for name, some in every.items():
        print(f"\n{name}: AURC {_cell(some, aurc)}\n\n{table(some)}")


if __name__ == "__main__":
    main()
