"""CPU time of an audit by its parts, for data sets of several sizes, and the time of a split afterwards.

    python benchmarks/audit.py PATH/TO/DATA [--sizes 500 1000 2000]

The data set's scans and masks are copied with small changes until there are enough: each copy is another window of its scan, with
another gain. So most scans have near-duplicates, which are more work to compare than a data set usually gives. Each audit runs in a
process of its own without a cache. CPU seconds are those of all threads, since they depend less on what else runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

import bcdseg

STEPS = {"describing": "read, check and describe", "matching": "match", "comparing": "compare"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set with masks that bcdseg.open_dataset opens")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000], help="numbers of scans")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options.data)
    print("CPU milliseconds per scan\n")
    print(f"| scans | {' | '.join(STEPS.values())} | rest | all | split after the audit |\n|---|---|---|---|---|---|---|")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            make(options.data, Path(folder), size)
            subprocess.run([sys.executable, __file__, folder, "--measure"], check=True)
    return None


def make(data: Path, folder: Path, size: int) -> None:
    """Write the scans of a data set as BUSI lays them out, and changed copies of them until there are enough."""
    source = bcdseg.open_dataset(data, on_problem="skip").filter(lambda sample: sample.masks)
    random = np.random.default_rng(0)
    for number in range(size):
        sample = source[number % len(source)]
        pixels, mask = source.read(sample)
        assert mask is not None
        if number >= len(source):
            height, width = mask.shape
            top, left = random.integers(0, height // 8), random.integers(0, width // 8)
            window = slice(top, top + height * 7 // 8), slice(left, left + width * 7 // 8)
            pixels, mask = np.clip(pixels[window] * random.uniform(0.8, 1.2), 0, 255).astype(np.uint8), mask[window]
        place = folder / str(sample.label)
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
        Image.fromarray(mask).save(place / f"{number}_mask.png")


def measure(folder: Path) -> None:
    """Print a row of the table."""
    data = bcdseg.open_dataset(folder)
    used: dict[str, float] = defaultdict(float)
    last, start = time.process_time(), time.process_time()

    def note(what: str, _done: int, _total: int) -> None:
        nonlocal last
        now = time.process_time()
        # The first report of comparing comes when all candidates are known.
        used["matching" if what == "comparing" and "comparing" not in used else what] += now - last
        used[what] += 0
        last = now

    audit = bcdseg.audit(data, cache=False, progress=note)
    whole = time.process_time() - start
    clean = data.apply_audit(audit)
    start = time.process_time()
    bcdseg.split(clean)
    split = time.process_time() - start
    parts = [used[name] for name in STEPS]
    cells = [*parts, whole - sum(parts), whole, split]
    print(f"| {len(data)} | {' | '.join(f'{cell / len(data) * 1e3:.2f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
