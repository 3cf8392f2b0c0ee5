"""Seconds for all measures of outlines, HD95 included, and for the intervals of all measures.

    python benchmarks/metrics.py [--masks 10000] > docs/benchmarks/metrics.md

The masks are made: ragged regions of 256 x 256, about as large as lesions of BUSI, each against itself moved and resized;
one in ten is missed. One process does it all, on one core.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import DRAWS, compare, estimate
from bcdseg.evaluation.metrics.detection import detect
from bcdseg.evaluation.metrics.outline import overlap, score_mask
from bcdseg.evaluation.metrics.surface import surface
from bcdseg.evaluation.results_table import Case, Cases, table_of
from bcdseg.types import Mask

SIZE = 256
CLASSES = ("normal", "benign", "malignant")
Pair = tuple[Mask, Mask]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=10_000, help="number of masks")
    options = parser.parse_args()
    print(f"# Measures: seconds, on a machine of {os.cpu_count()} cores\n")
    print(f"Made by `python benchmarks/metrics.py --masks {options.masks}`; one process, on one core.\n")
    pairs = [pair(seed) for seed in range(options.masks)]
    print(f"## {options.masks:,} masks of {SIZE} x {SIZE}\n\n| measures | seconds | milliseconds a mask |\n|---|---|---|")
    known: dict[str, Callable[[Mask, Mask], object]] = {
        "Dice, IoU, precision, recall": overlap,
        "HD95, mean surface distance, boundary F1": surface,
        "lesions found and false": detect,
        "**all of them**": score_mask,
        "**all of them, in millimetres too**": lambda truth, predicted: score_mask(truth, predicted, spacing=(0.1, 0.08)),
    }
    for name, measure in known.items():
        took = seconds(measure, pairs)
        print(f"| {name} | {took:.1f} | {took / len(pairs) * 1000:.2f} |", flush=True)
    print(f"\n## Intervals: {DRAWS} draws\n\n| scans | measures | seconds | paired with a second model |\n|---|---|---|---|")
    for scans in (626, 5000):
        one, other = table(scans, 1.0), table(scans, 2.0)
        measures = all_measures(one)
        start = time.perf_counter()
        estimate(one, measures)
        middle = time.perf_counter()
        compare(one, other, measures)
        print(f"| {scans} | {len(measures)} | {middle - start:.1f} | {time.perf_counter() - middle:.1f} |", flush=True)


def pair(seed: int) -> Pair:
    """Return a true mask and a prediction."""
    random = np.random.default_rng(seed)
    centre, radius = random.uniform(70, 186, 2), random.uniform(15, 60)
    truth = ragged(centre, radius, seed)
    if seed % 10 == 0:
        return truth, np.zeros_like(truth)
    return truth, ragged(centre + random.normal(0, 4, 2), radius * random.uniform(0.8, 1.2), seed + 1)


def ragged(centre: np.ndarray, radius: float, seed: int) -> Mask:
    row, column = np.ogrid[:SIZE, :SIZE]
    angle = np.arctan2(row - centre[0], column - centre[1])
    edge = radius * (1 + 0.2 * np.sin(3 * angle + seed) + 0.05 * np.sin(17 * angle + seed))
    return np.hypot(row - centre[0], column - centre[1]) < edge


def seconds(measure: Callable[[Mask, Mask], object], pairs: list[Pair]) -> float:
    start = time.perf_counter()
    for truth, predicted in pairs:
        measure(truth, predicted)
    return time.perf_counter() - start


def table(scans: int, skill: float) -> Cases:
    random = np.random.default_rng(0)
    masks = [pair(seed) for seed in range(50)]
    rows = []
    for at in range(scans):
        label = int(random.integers(3))
        truth, predicted = masks[at % 50] if label else (np.zeros((SIZE, SIZE), bool),) * 2
        shares = np.exp(random.normal(size=3) + skill * np.eye(3)[label])
        rows.append(
            Case(
                id=str(at),
                group=str(at // 2),
                label=CLASSES[label],
                probabilities=tuple(shares / shares.sum()),
                outlined=bool(predicted.any()),
                outline=score_mask(truth, predicted),
                size=(SIZE, SIZE),
            )
        )
    return table_of(rows, classes=CLASSES, no_lesion="normal")


if __name__ == "__main__":
    main()
